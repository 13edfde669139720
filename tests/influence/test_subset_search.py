from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gptfl
from gptfl.core import MetricInfo
from gptfl.core.curriculum import fill_batches
from gptfl.influence.exchanges import PredictedExchanges
from gptfl.influence.greedy import ClassQuota
from gptfl.influence.subset_search import exchanged_note, search
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

POOL, SIZE = 16, 5
RANDOM = np.random.default_rng(5)
PAIRS = RANDOM.normal(size=(POOL, POOL))


def objective(members, batches):
    """Pairs count, so that single examples say little; the batches must hold the members and no others."""
    for one, curricula in zip(members, batches, strict=True):
        for curriculum in curricula:
            assert set(curriculum.ravel().tolist()) == set(one.tolist())
    return np.array([PAIRS[np.ix_(one, one)].sum() for one in members])


def found(budget, rooms, seed=0):
    start = list(range(SIZE))
    batches = np.stack([fill_batches(np.arange(SIZE), 2, 10, order) for order in range(2)])
    predicted = []
    exchanges = PredictedExchanges(objective, np.array(start), batches)
    result = search(exchanges, np.arange(POOL - 2), rooms, budget, seed, lambda *g: predicted.append(g))
    assert predicted[-1][1] == predicted[-1][2] >= budget
    return result


FREE = ClassQuota(np.zeros(POOL, dtype=int), SIZE)


@pytest.mark.parametrize("rooms", [FREE, ClassQuota(np.arange(POOL) % 2, 3)])
def test_no_exchange_is_left_that_would_be_better(rooms) -> None:
    members, after, done = found(100_000, rooms)
    assert done
    assert len(set(members)) == SIZE
    assert max(members) < POOL - 2
    assert np.bincount(rooms.classes[members]).max() <= rooms.most
    assert after == pytest.approx(PAIRS[np.ix_(members, members)].sum())
    assert after > PAIRS[:SIZE, :SIZE].sum()
    for turn in range(SIZE):
        for other in set(range(POOL - 2)) - set(members):
            tried = [*members[:turn], other, *members[turn + 1 :]]
            if np.bincount(rooms.classes[tried]).max() <= rooms.most:
                assert PAIRS[np.ix_(tried, tried)].sum() <= after + 1e-9


def test_the_search_is_seeded_and_ends_with_its_budget() -> None:
    assert found(300, FREE) == found(300, FREE)
    assert not found(20, FREE)[2]
    assert found(2, FREE)[0] == list(range(SIZE))
    assert not found(2, FREE)[2]
    count = 0

    def counting(members, batches):
        nonlocal count
        count += batches.shape[0] * batches.shape[1]
        return objective(members, batches)

    batches = np.stack([fill_batches(np.arange(SIZE), 2, 10, order) for order in range(2)])
    exchanges = PredictedExchanges(counting, np.arange(SIZE), batches)
    search(exchanges, np.arange(POOL), FREE, 31, 0, lambda *_: None)
    assert count <= 31


@pytest.mark.parametrize("options", [{}, {"max_share_per_class": 0.5}, {"cautious": 0.5, "diversity": 0.5}])
def test_what_is_exchanged_is_predicted_to_be_better(tmp_path: Path, options) -> None:
    dynamics, features = synthetic(runs=12, pool=20, test=6, subset=6, batch_size=3, steps=8, every=2)
    write_dynamics(tmp_path / "syn.dynamics.h5", dynamics)
    write_features(tmp_path / "syn.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=tmp_path, settings={"link": "log"})
    plain = gptfl.select(6, workspace=tmp_path, search=0, **options)
    searched = gptfl.select(6, workspace=tmp_path, search=2000, **options)
    assert not any("exchanged" in note for note in plain.notes)
    if set(plain.ids) != set(searched.ids):
        assert any("chosen by influence alone were exchanged for others" in note for note in searched.notes)
    if "cautious" not in options:
        assert searched.predicted <= plain.predicted
    if options.get("max_share_per_class"):
        assert max(searched.classes.values()) == 3


@pytest.mark.parametrize(("higher", "way"), [(False, "lowers"), (True, "raises")])
def test_what_exchanges_came_to_is_told_as_a_difference(higher: bool, way: str) -> None:
    """Two values beside the one predicted of the result, which is of other orders, would be one too many."""
    metric = MetricInfo("score", higher_is_better=higher)
    objective = SimpleNamespace(spread=np.zeros(4), overlap=None, source=SimpleNamespace(metric=metric))
    sign = 1.0 if higher else -1.0
    note = exchanged_note(objective, 3, 40, sign * 0.5, sign * 0.5 + 0.125)
    assert note == (
        "3 of the 40 examples chosen by influence alone were exchanged for others, "
        f"which {way} the predicted score by 0.125 in the 2 orders of the search"
    )
