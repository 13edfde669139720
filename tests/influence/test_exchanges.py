"""Exchanges of members, judged by what they change: the same as predictions of whole subsets, and as good a search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.influence import exchanges
from gptfl.influence.exchanges import Likeness, PredictedExchanges, SummedExchanges, Worth
from gptfl.influence.greedy import ClassQuota
from gptfl.influence.subset_search import PredictedGain, search
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

POOL, SIZE = 20, 6
TESTS = np.array([0, 2, 5])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A fitted simulator that is linear in what a run sees, on a scale that isn't."""
    folder: Path = tmp_path_factory.mktemp("exchanges")
    dynamics, features = synthetic(runs=12, pool=POOL, test=6, subset=SIZE, batch_size=3, steps=8, every=2)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=folder, settings={"link": "log"})
    return open_fitted(None, None, folder, None, None)


def gain_of(source, costly=False, weights=None):
    """The objective, and curricula of the first members."""
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    random = np.random.default_rng(0)
    overlap = random.random((POOL, POOL)) * 0.01
    np.fill_diagonal(overlap, 0.0)
    gain = PredictedGain(
        source,
        recipe,
        source.first(int(recipe.grid[0])),
        TESTS,
        2.0,
        0.01 * random.random(POOL) if costly else np.zeros(POOL),
        np.arange(POOL),
        overlap=(overlap + overlap.T) if costly else None,
        weights=weights,
    )
    return gain, recipe.orders(np.arange(SIZE), 2, 0)


@pytest.mark.parametrize("costly", [False, True])
@pytest.mark.parametrize("weights", [None, np.array([0.5, 0.2, 0.3])])
def test_changes_are_those_of_predictions_of_the_whole(source, costly, weights) -> None:
    gain, batches = gain_of(source, costly, weights)
    members = np.array([3, 0, 5, 1, 4, 2])
    summed, now, eligible = gain.best_of([members], batches[None], np.arange(POOL)[::-1])
    assert now == summed.now
    assert isinstance(summed, SummedExchanges)
    np.testing.assert_array_equal(eligible, np.arange(POOL))
    predicted = PredictedExchanges(gain, members, batches)
    assert summed.now == pytest.approx(predicted.now, rel=1e-6)
    for turn, other in ((2, 9), (0, 17), (2, 11), (5, 5)):
        others = np.setdiff1d(np.arange(POOL), predicted.members)
        values = predicted.values(turn, others)
        np.testing.assert_allclose(summed.values(turn, others), values, rtol=1e-6)
        if other in others:
            for one in (summed, predicted):
                one.take(turn, other, float(one.values(turn, np.array([other]))[0]))
        np.testing.assert_array_equal(summed.members, predicted.members)
        assert summed.now == pytest.approx(predicted.now, rel=1e-6)
    np.testing.assert_array_equal(members, [3, 0, 5, 1, 4, 2])


@pytest.mark.parametrize("costly", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [300, 4000])
def test_the_search_finds_what_is_at_least_as_good(source, costly, seed, budget) -> None:
    gain, batches = gain_of(source, costly)
    rooms = ClassQuota(np.arange(POOL) % 2, 4)
    found = {}
    for kind in ("summed", "predicted"):
        start = gain.best_of([np.arange(SIZE)], batches[None], np.arange(POOL))[0]
        start = start if kind == "summed" else PredictedExchanges(gain, np.arange(SIZE), batches)
        members, value, _ = search(start, np.arange(POOL), rooms, budget, seed, lambda *_: None)
        again = PredictedExchanges(gain, np.arange(SIZE), batches)
        changed = batches
        for before, after in zip(range(SIZE), members, strict=True):
            changed = np.where(batches == before, after, changed)
        truth = float(gain(np.array(members)[None], changed[None])[0])
        assert value == pytest.approx(truth, rel=1e-6)
        assert value >= again.now
        found[kind] = truth
    assert found["summed"] >= found["predicted"] - 1e-6 * abs(found["predicted"])


def test_of_many_those_are_tried_that_promise_most(source, monkeypatch) -> None:
    gain, batches = gain_of(source, costly=True)
    summed = gain.best_of([np.arange(SIZE)], batches[None], np.arange(POOL))[0]
    others, random = np.arange(SIZE, POOL), np.random.default_rng(0)
    values = summed.values(1, others)
    monkeypatch.setattr(exchanges, "ROUND", 4)
    tried, cost = summed.tried(1, others, 1000, random)
    assert (len(tried), cost) == (4, 2)
    assert others[int(np.argmax(values))] in tried
    # The mean of those left out is worse than that of those tried: small changes are told to first order.
    assert values[np.isin(others, tried)].mean() > values[~np.isin(others, tried)].max() - np.ptp(values) / 4
    every = summed.tried(1, others[:4], 1000, random)[0]
    np.testing.assert_array_equal(np.sort(every), others[:4])


def test_likeness_is_that_of_each_member_with_the_one_most_like_it() -> None:
    random = np.random.default_rng(2)
    overlap = random.random((8, 8)).astype(np.float32)
    overlap = overlap + overlap.T
    np.fill_diagonal(overlap, 0.0)
    eligible = np.array([2, 3, 5, 7, 11, 13, 17, 19])
    worth = Worth(np.ones(1), 1.0, np.zeros(20), eligible, overlap)

    def plain(members):
        rows = np.searchsorted(eligible, members)
        return sum(max((overlap[one, other] for other in rows if other != one), default=0.0) for one in rows)

    for members in ([5, 3, 19, 11], [7], [2, 17]):
        likeness = Likeness(worth, np.array(members))
        assert likeness.total == pytest.approx(plain(members))
        for turn in range(len(members)):
            others = np.setdiff1d(eligible, members)
            expected = [plain([*members[:turn], other, *members[turn + 1 :]]) for other in others]
            np.testing.assert_allclose(likeness.costs(turn, others), expected, rtol=1e-6)


@pytest.mark.parametrize("slower", [False, True])
def test_the_best_of_some_subsets_is_that_of_predictions(source, slower) -> None:
    """A run by smaller steps is no sum over presentations of recorded ones, so that each subset is predicted."""
    gain, _ = gain_of(source)
    recipe = gain.schedule
    if slower:
        gain = replace(gain, schedule=replace(recipe, learning_rates=0.5 * recipe.learning_rates))
    random = np.random.default_rng(1)
    starts = [random.permutation(POOL)[:SIZE] for _ in range(5)]
    batches = np.stack([recipe.orders(np.sort(one), 2, 0) for one in starts])
    values = gain(np.stack(starts), batches)
    found, before, eligible = gain.best_of(starts, batches, random.permutation(POOL))
    assert isinstance(found, PredictedExchanges if slower else SummedExchanges)
    assert found.now == pytest.approx(values.max(), rel=1e-6)
    assert before == pytest.approx(values[0], rel=1e-6)
    np.testing.assert_array_equal(found.members, starts[int(np.argmax(values))])
    np.testing.assert_array_equal(eligible, np.arange(POOL))
