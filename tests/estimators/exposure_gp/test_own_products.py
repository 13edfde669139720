"""Products of exposures, summed up from what runs see, against exposures with a column for every example."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import breadth
from gptfl.estimators.exposure_gp.accumulation import accumulated_counts
from gptfl.estimators.exposure_gp.breadth import breadths
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.own_products import Cells, OwnProducts
from gptfl.estimators.exposure_gp.repeats import near, near_runs, repeats_of, saw_the_same, squares_of

STEPS, POOL = np.array([0, 3, 4, 9, 12]), 20


def curricula(seed=0, runs=5, relative=True):
    random = np.random.default_rng(seed)
    batches = random.integers(-1, POOL, size=(runs, 12, 4))
    return Curricula(batches, random.random((runs, 12)), relative=random.random(POOL) + 0.5 if relative else None)


def exposures(runs):
    counts = 1.0 if runs.relative is None else runs.relative
    return [one * counts for one in accumulated_counts(runs.batches, runs.weights, STEPS, POOL)]


@pytest.mark.parametrize("relative", [True, False])
def test_products_are_those_of_exposures(relative):
    fitted, asked = curricula(relative=relative), curricula(1, 3, relative)
    cells, others = Cells.of(fitted, STEPS), Cells.of(asked, STEPS)
    steps = zip(cells.products(cells), others.products(cells), exposures(fitted), exposures(asked), strict=True)
    for row, (own, theirs, ours, other) in enumerate(steps):
        np.testing.assert_allclose(own.cross, ours @ ours.T, atol=1e-12)
        np.testing.assert_allclose(theirs.cross, other @ ours.T, atol=1e-12)
        np.testing.assert_allclose(theirs.squares, (other**2).sum(axis=1), atol=1e-12)
        apart, level = ours - ours.mean(axis=0), ours.mean(axis=0)
        np.testing.assert_allclose(own.centred(), apart @ apart.T, atol=1e-12)
        cross, distance = theirs.against(own)
        np.testing.assert_allclose(cross, (other - level) @ apart.T, atol=1e-12)
        np.testing.assert_allclose(distance, ((other - level) ** 2).sum(axis=1), atol=1e-12)
        np.testing.assert_allclose(near_runs(theirs, own, np.arange(5), 0.3), near(other, ours, 0.3))
        members = np.array([0, 2, 4])
        np.testing.assert_allclose(near_runs(own, own, members, 0.3), near(ours[members], ours[members], 0.3))
        np.testing.assert_allclose(squares_of(own), squares_of(ours))
        np.testing.assert_allclose(cells.until(row, POOL).toarray(), ours)
        np.testing.assert_allclose(cells.sums[row], ours.sum(axis=1))
        np.testing.assert_allclose(cells.squares[row], (ours**2).sum(axis=1), atol=1e-12)


def test_examples_are_counted_as_those_fitted_that_they_are():
    runs = curricula(relative=False)
    own = np.random.default_rng(2).permutation(POOL)
    renumbered = Curricula(np.where(runs.batches >= 0, own[runs.batches], -1), runs.learning_rates)
    for ours, theirs in zip(
        Cells.of(runs, STEPS, own=own).products(Cells.of(renumbered, STEPS)), exposures(renumbered), strict=True
    ):
        np.testing.assert_allclose(ours.cross, theirs @ theirs.T, atol=1e-12)


def test_runs_that_saw_the_same_differ_by_nothing():
    runs = curricula(runs=1)
    twice = Curricula(np.repeat(runs.batches, 3, axis=0), np.repeat(runs.learning_rates, 3, axis=0))
    cells = Cells.of(twice, STEPS)
    last = list(cells.products(cells))[-1]
    assert not last.centred().any()
    assert saw_the_same(last, np.arange(3))
    assert list(repeats_of(twice.batches, last)) == [0, 0, 0]
    other = Cells.of(curricula(), STEPS)
    assert not saw_the_same(list(other.products(other))[-1], np.arange(5))


def test_no_run_sees_nothing_for_nothing():
    empty = Curricula(np.full((2, 12, 4), -1), np.ones((2, 12)))
    cells = Cells.of(empty, STEPS)
    assert all(not one.cross.any() and not one.squares.any() for one in cells.products(cells))
    assert isinstance(next(cells.products(cells)), OwnProducts)


def test_how_many_examples_a_run_is_spread_over_is_told_alike(monkeypatch):
    runs = curricula()
    dense = breadths(runs, STEPS)
    monkeypatch.setattr(breadth, "MANY", 0)
    np.testing.assert_allclose(breadths(runs, STEPS), dense)
