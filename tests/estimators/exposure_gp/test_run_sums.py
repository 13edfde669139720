"""Sums of vectors that are read some rows at a time, against those of vectors in memory."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import run_sums, seen_examples
from gptfl.estimators.exposure_gp.accumulation import accumulated
from gptfl.estimators.exposure_gp.curricula import RECENT, Curricula
from gptfl.estimators.exposure_gp.inputs import Sides, Sources
from gptfl.estimators.exposure_gp.run_sums import PoolMeans, RunSums
from tests.estimators.exposure_gp.worlds import Held

STEPS, POOL, TEST = np.array([0, 2, 5, 12, 14]), 20, 3
NAMES = {"gradients": ("raw-0", "raw-6", "raw-11", "split-4"), "texts": ("text", "more")}


@pytest.fixture(params=NAMES)
def sides(request):
    random = np.random.default_rng(0)
    gradient = request.param == "gradients"
    return {
        name: Sides(random.normal(size=(POOL, 4)).astype(np.float32) + 2, random.normal(size=(TEST, 4)), gradient)
        for name in NAMES[request.param]
    }


def runs_of(relative):
    random = np.random.default_rng(1)
    batches = random.integers(-1, POOL, size=(4, 12, 3))
    return Curricula(batches, random.random((4, 12)), relative=random.random(POOL) + 0.5 if relative else None)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("at", [None, np.linspace(0, 9, 13)], ids=["its own steps", "others"])
def test_sums_are_those_of_vectors_in_memory(sides, relative, at, monkeypatch):
    monkeypatch.setattr(seen_examples, "BLOCK_BYTES", 100)
    runs = runs_of(relative)
    dense = Sources.of(sides)
    blocked = Sources.of({name: Sides(Held(one.train), one.test, one.gradient) for name, one in sides.items()})
    assert (dense.in_blocks, blocked.in_blocks) == (False, True)
    found = RunSums.of(runs, STEPS, blocked, at=at)
    vectors = dense.of_fitted(runs.relative)
    recent = dense.recent(vectors)
    effects = [(one, None) for one in vectors] + [(recent, reach) for reach in RECENT if recent is not None]
    assert len(found.shared) == len(effects)
    for ours, (one, reach) in zip(found.shared, effects, strict=True):
        theirs = np.stack([x.copy() for x in accumulated(runs.batches, runs.weights, STEPS, one, reach, at)])
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    expected = dense.expected(vectors, dense.test_sides)
    for row in range(len(STEPS)):
        ours = found.expected(row, blocked, blocked.test_sides)
        assert len(ours) == len(expected) == blocked.ways
        for one, way in zip(ours, expected, strict=True):
            theirs = [x.copy() for x in accumulated(runs.batches, runs.weights, STEPS, way, None, at)][row]
            np.testing.assert_allclose(one, theirs, rtol=1e-4, atol=1e-3)
    some = found.of_runs(np.array([1, 3]), np.array([2, 4]))
    np.testing.assert_array_equal(some.shared[0], found.shared[0][[2, 4]][:, [1, 3]])


@pytest.mark.parametrize("relative", [False, True])
def test_means_are_those_of_the_pool(sides, relative):
    runs = runs_of(relative)
    dense = Sources.of(sides)
    blocked = Sources.of({name: Sides(Held(one.train), one.test, one.gradient) for name, one in sides.items()})
    means = PoolMeans.of(blocked, runs.relative)
    for ours, theirs in zip(means.paths, dense.of_fitted(runs.relative), strict=True):
        np.testing.assert_allclose(ours, theirs.rows.mean(axis=1), atol=1e-5)


def test_only_what_was_seen_is_read(sides):
    class Watched(Held):
        taken = ()

        def take(self, places):
            self.taken = (*self.taken, *places.tolist())
            return super().take(places)

    watched = {name: Watched(one.train) for name, one in sides.items()}
    sources = Sources.of({name: Sides(watched[name], one.test, one.gradient) for name, one in sides.items()})
    runs = Curricula(np.array([[[3, 3], [7, -1]]]), np.ones((1, 2)))
    RunSums.of(runs, np.array([0, 2]), sources)
    assert {one.taken for one in watched.values()} == {(3, 7)}


def test_the_longest_gradients_are_known_by_their_places(monkeypatch):
    monkeypatch.setattr(run_sums, "LONGEST", 2)
    train = np.ones((POOL, 4), np.float32)
    train[[4, 13]] *= 5
    means = PoolMeans.of(Sources.of({"raw-0": Sides(Held(train), np.ones((TEST, 4)), True)}), None)
    np.testing.assert_array_equal(means.longest["raw-0"], [4, 13])
