"""Over how many examples runs are spread."""

import numpy as np
import pytest

from gptfl.core import Query
from gptfl.estimators.clock import Clock
from gptfl.estimators.exposure_gp.breadth import SHARE, Breadth, breadths, lately
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.recipe_departure import departure
from tests.estimators.exposure_gp.straight import BATCHES, CENTRE, GRID, RATES, RECIPE, RUNS


def test_the_breadth_is_that_of_as_many_examples_of_one_exposure():
    batches = np.array([[[0, 1], [2, 3]], [[0, 1], [0, 1]], [[0, -1], [1, 2]], [[-1, -1], [3, 3]]])
    rates = np.array([[1.0, 1.0], [1.0, 0.5], [1.0, 1.0], [1.0, 1.0]])
    found = breadths(Curricula(batches, rates), np.array([0, 1, 2]))
    np.testing.assert_allclose(found, [[1, 2, 4], [1, 2, 2], [1, 1, 4 / 1.5], [1, 1, 1]])


@pytest.mark.parametrize("examples", [3, 40])
def test_runs_over_fewer_or_more_examples_are_uncertain_by_a_share_of_what_the_average_run_changes_lately(examples):
    breadth = Breadth.of(RUNS, GRID)
    batches = np.stack([np.random.default_rng(step).permutation(examples)[:3] for step in range(12)])
    query = Query(batches[None], RATES[None], GRID, np.zeros((1, 3)))
    places = RECIPE.clock.place(query, GRID).check()
    away = breadth.apart(RUNS, query, places)
    own = breadths(RUNS.like(batches[None], RATES[None]), GRID)[0]
    recorded = np.log(breadths(RUNS, GRID))
    expected = [
        max(low - one, one - high, 0.0)
        for low, high, one in zip(recorded.min(0), recorded.max(0), np.log(own), strict=True)
    ]
    np.testing.assert_allclose(away[0], [one if one > 0.1 else 0.0 for one in expected])
    assert away[0, -1] > 0.3
    alone = departure(query, places, RECIPE, CENTRE[None], CENTRE[None])
    more = departure(query, places, RECIPE, CENTRE[None], CENTRE[None], away)
    late = lately(CENTRE, GRID, RECIPE.clock)
    np.testing.assert_allclose(more**2 - alone**2, (SHARE * away[:, :, None] * late) ** 2, atol=1e-12)


def test_runs_over_as_many_examples_as_recorded_are_no_further():
    query = Query(BATCHES, np.tile(RATES, (3, 1)), GRID, np.zeros((3, 3)))
    assert Breadth.of(RUNS, GRID).apart(RUNS, query, RECIPE.clock.place(query, GRID).check()) is None


def clock_of(rates):
    sums = np.append(0.0, np.cumsum(rates))
    return Clock(sums, sums)


def test_what_a_trajectory_changes_lately_is_its_slope_over_the_logarithm_of_the_step_sizes():
    steps, clock = np.arange(0, 41, 2), clock_of(np.linspace(1.0, 0.1, 40))
    passed = clock.most[steps]
    slopes = np.array([-0.7, 0.2])
    values = np.append([[5.0, 0.0]], 3.0 + slopes * np.log(passed[1:, None]), axis=0)
    found = lately(values, steps, clock)
    # The first recorded step after the start has all that has changed; what came before it plays no part later.
    np.testing.assert_allclose(found[:2], [[0.0, 0.0], values[1] - values[0]])
    np.testing.assert_allclose(found[2:], np.tile(slopes, (len(steps) - 2, 1)), rtol=1e-9)


def test_what_is_learned_at_once_counts_for_nothing_later():
    values = np.array([6.0, 0.5, 0.5, 0.5, 0.5])[:, None]
    np.testing.assert_array_equal(lately(values, np.array([0, 1, 2, 4, 8]), clock_of(np.ones(8))).ravel(), [0, -5.5, 0, 0, 0])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_taken_between_a_step_and_the_earliest_recorded_since_an_eth_of_the_sum(seed):
    random = np.random.default_rng(seed)
    steps = np.sort(random.choice(60, 9, replace=False))
    rates, values = random.uniform(0.1, 1.0, 60), random.normal(size=(9, 2))
    found, sums = lately(values, steps, clock_of(rates)), np.append(0.0, np.cumsum(rates))
    np.testing.assert_array_equal(found[0], 0.0)
    for row in range(1, 9):
        here = sums[steps[row]] - sums[steps[0]]
        place = next(k for k in range(9) if sums[steps[k]] - sums[steps[0]] >= here / np.e or k == row - 1)
        there = sums[steps[place]] - sums[steps[0]]
        factor = np.log(here / there) if there > 0 else 1.0
        np.testing.assert_allclose(found[row], (values[row] - values[place]) / factor)


def test_a_recording_whose_step_sizes_are_nothing_has_no_slope():
    found = lately(np.array([[1.0], [1.0], [2.0]]), np.array([0, 1, 2]), clock_of(np.zeros(2)))
    np.testing.assert_array_equal(found.ravel(), [0.0, 0.0, 1.0])
