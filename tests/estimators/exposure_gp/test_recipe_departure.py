import itertools

import numpy as np
import pytest

from gptfl.core import Query
from gptfl.estimators.exposure_gp.recipe_departure import departure, mixture
from tests.estimators.exposure_gp.straight import BATCHES, CENTRE, GRID, RANDOM, RATES, RECIPE


def beside(batches, rates, mean=0.0, steps=GRID):
    query = Query(batches[None], rates[None], steps, np.zeros((1, 3)))
    places = RECIPE.clock.place(query, GRID).check()
    here = np.stack([np.interp(places.requested[0], GRID, one) for one in CENTRE.T], axis=1)[None]
    return departure(query, places, RECIPE, CENTRE[None], here + mean)


def test_a_batch_is_as_mixed_as_its_different_examples():
    rows = np.array([[0, 1, 2, 3], [0, 0, 1, 1], [5, 5, 5, 5], [0, 1, -1, -1], [0, 0, 0, 1]])
    np.testing.assert_allclose(mixture(rows), [4, 2, 1, 2, 1.6])
    np.testing.assert_allclose(mixture(np.concatenate([rows, rows], axis=1)), mixture(rows))


def test_what_was_recorded_departs_from_nothing():
    assert beside(BATCHES[0], RATES) is None
    assert beside(np.concatenate([BATCHES[0], np.full((12, 2), -1)], axis=1), RATES) is None
    # The same mean over the batch, written twice over.
    assert beside(np.concatenate([BATCHES[0], BATCHES[0]], axis=1), RATES) is None


def test_other_step_sizes_are_as_uncertain_as_their_clock_and_no_more_than_what_changed():
    found = beside(BATCHES[0], 0.8 * RATES)[0]
    # Of a straight line: where 12 steps lead, less where 9.6 do.
    np.testing.assert_allclose(found[-1], np.abs(np.array([-0.1, 0.05, 0.0])) * 2.4)
    found = beside(BATCHES[0], 0.1 * RATES)[0]
    np.testing.assert_allclose(found[-1], np.abs(np.array([-0.1, 0.05, 0.0])) * 1.2)
    np.testing.assert_array_equal(beside(BATCHES[0], 0 * RATES)[0], 0)


@pytest.mark.parametrize("pace", [0.8, 0.5, 0.1])
def test_at_another_pace_the_deviation_is_uncertain_as_well(pace):
    flat = beside(BATCHES[0], pace * RATES, 0.3)[0, -1, 2]
    assert flat == pytest.approx(0.3 * min(1 / pace - 1, 1))


def test_the_further_from_the_recorded_batch_the_more_uncertain():
    sizes = [3, 2, 1]
    smaller = [beside(np.where(np.arange(4) < size, BATCHES[0], -1), RATES, 0.3) for size in sizes]
    wide = [RANDOM.permuted(np.tile(np.arange(40), (12, 1)), axis=1)[:, :size] for size in (5, 8, 16, 40)]
    larger = [beside(one, RATES, 0.3) for one in wide]
    for found in (smaller, larger):
        for less, more in itertools.pairwise(found):
            assert (more[0, 1:] >= less[0, 1:]).all()
            assert (more[0, -1] > less[0, -1]).any()
    # A root of two of clock on a straight line, and of the deviation beside it.
    double = beside(wide[1], RATES, 0.3, np.array([0, 6]))[0, 1]
    ahead = 6 * (np.sqrt(2) - 1) * np.abs([-0.1, 0.05, 0.0])
    np.testing.assert_allclose(double, np.hypot(ahead, 0.3 * (np.sqrt(2) - 1)))
