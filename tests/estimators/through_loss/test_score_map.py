"""From departures of the loss to a metric: ``gptfl.estimators.through_loss.score_map``."""

import numpy as np
from scipy.optimize import approx_fprime

from gptfl.estimators.through_loss import score_map
from gptfl.estimators.through_loss.score_map import Departures, ScoreMap, fit_map


def made(slopes, runs=40, grid=2, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    tests = len(slopes)
    departures = random.normal(size=(runs, grid, tests))
    levels = random.normal(size=(grid, tests))
    shares = 1.0 / (1.0 + np.exp(-(levels + np.array(slopes) * departures)))
    if noise:
        shares = (random.random(shares.shape) < shares).astype(np.float64)
    return Departures.of(departures, shares), levels


def test_the_gradient_is_that_of_the_objective():
    cells, levels = made([-1.0, -2.0, 0.5], runs=6, noise=1.0)
    random = np.random.default_rng(1)
    for own in (0, 3):
        point = random.normal(size=levels.size + 1 + own)

        def value(at):
            return score_map._objective(at, cells, cells.departures, 0.7)[0]

        gradient = score_map._objective(point, cells, cells.departures, 0.7)[1]
        np.testing.assert_allclose(gradient, approx_fprime(point, value, 1e-7), atol=1e-4)


def test_slopes_are_found_again_and_coins_draw_them_together():
    parts = np.arange(40) % 6
    cells, _ = made([-1.0, -1.0, -1.0, -4.0])
    exact, _ = fit_map(cells, parts)
    assert exact.slopes[3] < 2.0 * exact.slopes[:3].min() < 0.0
    noisy, _ = made([-1.0] * 4, runs=12, noise=1.0)
    found, _ = fit_map(noisy, np.arange(12) % 6)
    assert np.ptp(found.slopes) < 1.0


def test_expectations_of_runs_left_out_do_not_hang_on_what_these_scored():
    cells, _ = made([-2.0, -2.0], runs=8, noise=1.0)
    parts = np.arange(8) % 4
    changed = Departures(
        cells.departures, np.where((parts == 1)[:, None, None], 1.0 - cells.shares, cells.shares), cells.known
    )
    first = [score_map._solved(one.of_runs(parts != 1), 3.0, True) for one in (cells, changed)]
    np.testing.assert_array_equal(first[0][0], first[1][0])
    np.testing.assert_array_equal(first[0][1], first[1][1])


def test_without_any_departure_the_levels_are_the_means_with_a_part_of_a_run_in_the_middle():
    shares = np.array([[[0.0, 1.0]], [[1.0, 1.0]], [[1.0, np.nan]]])
    found, expected = fit_map(Departures.of(np.zeros((3, 1, 2)), shares), np.arange(3))
    more = score_map.PRIOR_RUNS
    middles = [(2 + more / 2) / (3 + more), (2 + more / 2) / (2 + more)]
    np.testing.assert_allclose(found.expected(np.zeros((1, 1, 2)))[0, 0], middles)
    np.testing.assert_allclose(expected[0, 0, 0], (2 + more / 2) / (2 + more))
    np.testing.assert_array_equal(found.slopes, 0.0)


def test_the_steepness_is_the_derivative():
    found = ScoreMap(np.array([[0.3, -0.2]]), np.array([-1.5, 2.0]))
    at, small = np.array([[[0.4, -0.1]]]), 1e-6
    ends = [found.expected(at + change) for change in (-small, small)]
    steep = found.steepness(found.expected(at))
    np.testing.assert_allclose(steep, (ends[1] - ends[0]) / (2 * small), rtol=1e-6)
