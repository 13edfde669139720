"""Sums of known products over what runs have seen, against a plain loop, whether products are in memory or not."""

import numpy as np
import pytest

from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.estimators.exposure_gp import seen_examples
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.known_sums import KnownChanges, KnownSums
from tests.estimators.exposure_gp.worlds import Held

RUNS, LENGTH, BATCH, POOL, TEST = 3, 8, 2, 9, 4
POINTS, STEPS = np.array([1, 3, 6]), np.array([0, 2, 5, 8])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(seen_examples, "BLOCK_BYTES", 40)


def curricula():
    random = np.random.default_rng(0)
    batches = random.integers(0, POOL, size=(RUNS, LENGTH, BATCH))
    batches[0, 3, 1] = -1
    return Curricula(batches, random.uniform(0.1, 1.0, size=(RUNS, LENGTH)))


def recorded(blocked):
    raw, divided = np.random.default_rng(1).normal(size=(2, len(POINTS), POOL, TEST)).astype(np.float32)
    divided[0] = np.nan
    given = [as_products(BlockedProducts([Held(one) for one in each])) if blocked else each for each in (raw, divided)]
    return raw, divided, PriorProducts.of(POINTS, raw=given[0], preconditioned=given[1])


def plain(runs, points, rows, at):
    """What each run's batches come to at each step, one example after the other."""
    found = np.zeros((len(STEPS), RUNS, TEST))
    for row, end in enumerate(STEPS):
        for run in range(RUNS):
            for step in range(end):
                for example in runs.batches[run, step]:
                    if example >= 0:
                        along = np.array([np.interp(at[step], points, rows[:, example, z]) for z in range(TEST)])
                        found[row, run] -= runs.weights[run, step] * along
    return found


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("at", [None, np.linspace(0, 7, LENGTH + 1)])
def test_sums_are_those_of_a_plain_loop(blocked, at):
    raw, divided, products = recorded(blocked)
    runs = curricula()
    found = KnownSums.of(runs, STEPS, products.ways(), at)
    taken = np.arange(LENGTH + 1) if at is None else at
    for ours, (points, rows) in zip(
        found.ways,
        [(POINTS[1:], divided[1:]), (POINTS[2:], divided[2:]), (POINTS, raw), (POINTS[2:], raw[2:])],
        strict=True,
    ):
        np.testing.assert_allclose(ours, plain(runs, points, rows, taken), rtol=1e-4, atol=1e-5)
    some, at_rows = np.array([0, 2]), np.array([1, 3])
    np.testing.assert_array_equal(found.of_runs(some, at_rows).ways[2], found.ways[2][at_rows][:, some])
    assert [one.dtype for one in found.at(2)] == [np.float64] * 4


def test_a_point_that_two_ways_go_by_is_read_once(monkeypatch):
    read = []
    _, _, products = recorded(True)
    monkeypatch.setattr(Held, "take", lambda self, places: read.append(len(places)) or self.array[places])
    runs = curricula()
    KnownSums.of(runs, STEPS, products.ways())
    assert sum(read) == (len(POINTS) + len(POINTS) - 1) * len(np.unique(runs.batches[runs.batches >= 0]))


def test_they_come_back_from_their_arrays():
    raw, divided, products = recorded(True)
    found = KnownChanges.of(curricula(), STEPS, products)
    for ours, rows in zip(found.means, (divided[1:], divided[2:], raw, raw[2:]), strict=True):
        np.testing.assert_allclose(ours, -rows.mean(axis=1), rtol=1e-5, atol=1e-6)
    arrays = found.arrays()
    again = KnownChanges.from_arrays(arrays, products, (len(STEPS), RUNS))
    assert {name: one.tobytes() for name, one in again.arrays().items()} == {
        name: one.tobytes() for name, one in arrays.items()
    }
    assert KnownChanges.from_arrays({}, products, (len(STEPS), RUNS)) is None
    for name in ("known:1", "known-mean:2"):
        for wrong in (arrays[name][:-1], arrays[name] * np.nan, arrays[name].astype(int)):
            with pytest.raises(ValueError, match="first-order changes of shape"):
                KnownChanges.from_arrays({**arrays, name: wrong}, products, (len(STEPS), RUNS))
    with pytest.raises(KeyError):
        KnownChanges.from_arrays({name: arrays[name] for name in arrays if name != "known:3"}, products, (4, RUNS))


def test_ways_of_different_rows_are_told_apart():
    one = Vectors(POINTS[:1], np.ones((1, POOL, TEST), np.float32))
    two = Vectors(POINTS[:1], np.full((1, POOL, TEST), 2, np.float32))
    first, second = KnownSums.of(curricula(), STEPS, [one, two]).ways
    np.testing.assert_allclose(second, 2 * first)
    assert first[-1].min() > 0
