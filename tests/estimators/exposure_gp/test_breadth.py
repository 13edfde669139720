"""Over how many examples runs are spread."""

import numpy as np
import pytest

from gptfl.core import Query
from gptfl.estimators.clock import Clock
from gptfl.estimators.exposure_gp.breadth import MOST, SHARE, Breadth, breadths, lately, squared
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
    late = RECIPE.lately[:, None] * (CENTRE - CENTRE[0])
    np.testing.assert_allclose(more**2 - alone**2, (SHARE * away[:, :, None] * late) ** 2, atol=1e-12)


def test_runs_over_as_many_examples_as_recorded_are_no_further():
    query = Query(BATCHES, np.tile(RATES, (3, 1)), GRID, np.zeros((3, 3)))
    assert Breadth.of(RUNS, GRID).apart(RUNS, query, RECIPE.clock.place(query, GRID).check()) is None


def clock_of(rates):
    sums = np.append(0.0, np.cumsum(rates))
    return Clock(sums, sums)


def test_what_a_course_changes_lately_is_its_slope_over_the_logarithm_of_the_step_sizes():
    steps, clock = np.arange(0, 41, 2), clock_of(np.linspace(1.0, 0.1, 40))
    passed, slopes = clock.most[steps], np.array([-0.07, 0.02])
    values = np.append([[5.0, 0.0]], 3.0 + slopes * np.log(passed[1:, None]), axis=0)
    whole = np.sqrt(((values[2:] - values[0]) ** 2).sum(axis=1))
    expected = np.linalg.norm(slopes) / whole
    assert expected.max() < MOST
    np.testing.assert_allclose(lately(values[None], steps, clock)[2:], expected, rtol=1e-9)


def test_what_is_learned_at_once_counts_for_nothing_later():
    values = np.array([6.0, 0.5, 0.5, 0.5, 0.5])[None, :, None]
    found = lately(values, np.array([0, 1, 2, 4, 8]), clock_of(np.ones(8)))
    np.testing.assert_array_equal(found, [MOST, MOST, 0.0, 0.0, 0.0])


def test_a_share_stands_in_where_no_step_since_an_eth_of_the_sum_was_recorded():
    values = np.array([6.0, 0.8, 0.5])[None, :, None]
    found = lately(values, np.array([0, 25, 100]), clock_of(np.ones(100)))
    np.testing.assert_array_equal(found, MOST)
    np.testing.assert_array_equal(lately(values, np.array([0, 1, 2]), clock_of(np.zeros(2))), MOST)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_taken_from_the_earliest_recorded_step_since_an_eth_of_the_sum(seed):
    random = np.random.default_rng(seed)
    steps = np.sort(random.choice(60, 9, replace=False))
    rates, values = random.uniform(0.1, 1.0, 60), random.normal(size=(9, 2))
    values[0] += 100.0
    found, sums = lately(values[None], steps, clock_of(rates)), np.append(0.0, np.cumsum(rates))
    sums = sums[steps] - sums[steps[0]]
    for row in range(1, 9):
        place = next(k for k in range(9) if sums[k] >= sums[row] / np.e)
        if place == row:
            assert found[row] == MOST
            continue
        slope = np.linalg.norm(values[row] - values[place]) / np.log(sums[row] / sums[place])
        assert found[row] == pytest.approx(min(slope / np.linalg.norm(values[row] - values[0]), MOST))
    assert (found[1:] < MOST).sum() >= 5


def test_what_chance_adds_to_the_square_of_a_mean_change_is_taken_off():
    random = np.random.default_rng(0)
    true = random.normal(size=400)
    noisy = true + random.normal(scale=2.0, size=(5, 400))
    assert squared(noisy) == pytest.approx(np.mean(true**2), abs=0.3)
    assert np.mean(noisy.mean(axis=0) ** 2) > np.mean(true**2) + 0.5
    noisy[0, :200], noisy[:, 7] = np.nan, np.nan
    total = 0.0
    for column in np.delete(np.arange(400), 7):
        own = [value for value in noisy[:, column] if np.isfinite(value)]
        total += (np.mean(own) ** 2 - np.var(own, ddof=1) / len(own)) / 399
    assert squared(noisy) == pytest.approx(total)
    assert squared(np.full((3, 2), np.nan)) == 0.0
    assert squared(np.array([[1.0], [-1.0]])) == 0.0
    assert squared(np.array([[2.0, 1.0]])) == 2.5
