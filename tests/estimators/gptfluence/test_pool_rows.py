"""A pool that isn't in memory gives the sums, the gradients and the fits of one that is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gptfl as package
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.estimators.gptfluence import pool_rows
from gptfl.estimators.gptfluence.batches import interval_counts
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.estimators.gptfluence.pool_rows import PoolProjection, PoolRows, SummedRows, SummedSides, standardised
from gptfl.estimators.gptfluence.projection import Form, project, uninformed
from gptfl.estimators.gptfluence.recurrence import factors
from gptfl.estimators.gptfluence.vectors import Standard
from gptfl.store import features as stored
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator
from tests.estimators.exposure_gp.worlds import Held, in_blocks
from tests.estimators.gptfluence.test_estimator import QUICK, fit_data, held_out, recording
from tests.synthetic import synthetic

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(2.0, 3.0, size=(30, 5)).astype(np.float32)
BATCHES = RANDOM.integers(0, 12, size=(3, 6, 4)) * 2
STEPS = np.array([0, 1, 3, 6])


class Watched(Held):
    """Rows that remember which of them were read, and how many at once."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.read_rows: set[int] = set()
        self.most = 0

    def take(self, places: np.ndarray) -> np.ndarray:
        self.read_rows |= set(places.tolist())
        self.most = max(self.most, len(places))
        return self.array[places]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time, none of which stay in memory."""
    monkeypatch.setattr(pool_rows, "rows_at_once", lambda width: 5)
    monkeypatch.setattr(pool_rows, "HELD_BYTES", 0)


@pytest.mark.parametrize("projection", ["mlp", "linear"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_and_gradients_are_those_of_all_projections(small_pieces: None, projection: str, weighted: bool) -> None:
    form = Form(2, projection, False, 5, 7)
    weights = RANDOM.uniform(0.5, 2.0, size=BATCHES.shape[:2]) if weighted else None
    counts = interval_counts(BATCHES, STEPS, len(VECTORS), weights)
    parameters = uninformed(form, torch.Generator().manual_seed(1))
    parameters = {name: one.requires_grad_() for name, one in parameters.items() if name.startswith("train")}
    standard, rows = Standard.of_pool(VECTORS), Watched(VECTORS)
    summed = SummedRows(PoolRows(rows, standard), counts).project(form, parameters)
    table = project(standard(VECTORS), parameters, "train")
    plain = torch.einsum("kn,fnw->fkw", counts.dense(len(VECTORS)).to(torch.float32), table)
    torch.testing.assert_close(summed, plain, rtol=1e-5, atol=1e-5)
    weight = torch.from_numpy(RANDOM.normal(size=tuple(plain.shape)).astype(np.float32))
    mine, theirs = (torch.autograd.grad((one * weight).sum(), list(parameters.values())) for one in (summed, plain))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert rows.read_rows == set(np.unique(BATCHES).tolist())
    assert rows.most <= 5


def test_factors_of_a_pool_that_is_not_in_memory_are_the_same() -> None:
    form = Form(2, "mlp", False, 5, 7)
    parameters = uninformed(form, torch.Generator().manual_seed(1))
    counts = interval_counts(BATCHES, STEPS, len(VECTORS))
    standard = Standard.of_pool(VECTORS)
    test = project(standard(VECTORS[:4]), parameters, "test")
    rows = standardised(Held(VECTORS), standard)
    assert isinstance(rows, PoolRows)
    assert rows.shape == (30, 5)
    streamed = PoolProjection(rows, form, parameters)
    assert (streamed.shape, len(streamed)) == ((2, 30, 7), 2)
    ours = factors(streamed, test, counts)
    theirs = factors(project(standard(VECTORS), parameters, "train"), test, counts)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    nothing = interval_counts(np.full((1, 3, 2), -1), np.array([0, 3]), len(VECTORS))
    assert not streamed.summed(nothing).any()


def test_intervals_stand_in_the_place_of_examples() -> None:
    form = Form(2, "linear", True, 5, 3)
    standard = Standard.of_pool(VECTORS)
    sides = SummedSides(form, PoolRows(Held(VECTORS), standard), standard(VECTORS[:4]))
    parts = [interval_counts(one[None], STEPS, len(VECTORS)) for one in BATCHES]
    placed = [sides.place(part) for part in parts]
    assert sides.intervals == 9
    assert placed[1].members.tolist() == [3, 4, 5]
    parameters = uninformed(form, torch.Generator().manual_seed(1))
    train, _ = sides.project(parameters)
    plain = project(standard(VECTORS), parameters, "both")
    for part, own in zip(parts, placed, strict=True):
        expected = torch.einsum("kn,fnw->fkw", part.dense(len(VECTORS)).to(torch.float32), plain)
        torch.testing.assert_close(train[:, own.members], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"projection": "linear"},
        {"shared": True, "start": "random"},
        {"anchored": True, "rollout": 3},
        {"around": "mean-run", "step_size": True},
    ],
)
def test_fits_and_answers_are_those_in_memory(small_pieces: None, settings: dict) -> None:
    runs, features = recording(runs=8)
    given = QUICK | {"epochs": 40} | settings
    dense = GPTfluence(**given).fit(fit_data(runs, features))
    blocked = in_blocks(features)
    streamed = GPTfluence(**given).fit(fit_data(runs, blocked))
    query = held_out(runs)[0]
    expected = dense.predict(query).values
    np.testing.assert_allclose(streamed.predict(query).values, expected, rtol=1e-3)
    assert streamed.notes_ == dense.notes_
    state = streamed.state()
    assert "vectors.train" not in state
    again = GPTfluence(**streamed.settings()).restore(state)
    assert again.lacks_vectors
    with pytest.raises(DataError, match="keeps no vectors of the training examples"):
        again.predict(query)
    again.use_vectors(blocked)
    assert not again.lacks_vectors
    np.testing.assert_allclose(again.predict(query).values, streamed.predict(query).values, rtol=1e-5)


def test_vectors_of_other_examples_or_not_finite_are_refused() -> None:
    runs, features = recording(runs=8)
    blocked = in_blocks(features)
    fitted = GPTfluence(epochs=0).fit(fit_data(runs, blocked))
    one = blocked.sets["vectors"]
    with pytest.raises(DataError, match="has vectors for 19 pool"):
        fitted.use_vectors(replace(blocked, sets={"vectors": replace(one, train=one.train[:19])}))
    broken = np.array(one.train)
    broken[3] = np.nan
    assert isinstance(Held(broken), BlockedRows)
    with pytest.raises(DataError, match="aren't finite"):
        GPTfluence(epochs=0).fit(fit_data(runs, replace(blocked, sets={"vectors": replace(one, train=Held(broken))})))
    with pytest.raises(DataError, match="aren't finite"):
        PoolRows(Held(broken), Standard(np.zeros(4), 1.0)).read(np.array([3]))
    state = dict(fitted.state()) | {"vectors.pool": np.array(0)}
    with pytest.raises(DataError, match=r"'vectors.pool' is not a number"):
        GPTfluence(epochs=0).restore(state)


def test_a_simulator_refers_to_the_vectors_of_a_large_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamics, features = synthetic(12)
    ids = [example.id for example in dynamics.pool[:8]]
    found = []
    for large in (10**9, 1):
        folder = tmp_path / str(large)
        folder.mkdir()
        monkeypatch.setattr(stored, "LARGE", large)
        write_dynamics(folder / "syn.dynamics.h5", dynamics)
        write_features(folder / "syn.synthetic.features.h5", features)
        made = package.fit("gptfluence", workspace=folder, settings={"epochs": 30})
        again = package.open_simulator(made.path, workspace=folder)
        found.append(again.simulate(subset=ids, orders=2).values)
        kept = read_simulator(made.path)
        assert ("vectors" in kept.info) == ("vectors.pool" in kept.state) == (large == 1)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    (folder / "syn.synthetic.features.h5").unlink()
    with pytest.raises(DataError):
        package.open_simulator(made.path, workspace=folder).simulate(subset=ids)
