import numpy as np
import pytest

from gptfl.estimators.ridge import STRENGTHS, fit_ridge, leave_one_out_error


def problem(rows=7, d=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, d)), random.normal(size=(rows, 2))


def solve(x, y, penalty):
    centred, mean = x - x.mean(axis=0), y.mean(axis=0)
    slope = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - mean))
    return mean - x.mean(axis=0) @ slope, slope


def penalty_of(x, strength):
    return strength * ((x - x.mean(axis=0)) ** 2).sum() / len(x)


@pytest.mark.parametrize(("rows", "d"), [(7, 3), (4, 6)])
def test_fit_matches_the_normal_equations(rows, d):
    x, y = problem(rows, d)
    intercept, slope = fit_ridge(x, y, 0.5)
    expected_intercept, expected_slope = solve(x, y, penalty_of(x, 0.5))
    np.testing.assert_allclose(slope, expected_slope, atol=1e-12)
    np.testing.assert_allclose(intercept, expected_intercept, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-3, 0.5, 10.0, float("inf")])
def test_leave_one_out_matches_refitting(strength):
    x, y = problem()
    penalty, total = penalty_of(x, strength), 0.0
    for row in range(len(x)):
        rest = np.arange(len(x)) != row
        if np.isinf(strength):
            guess = y[rest].mean(axis=0)
        else:
            intercept, slope = solve(x[rest], y[rest], penalty)
            guess = intercept + x[row] @ slope
        total += ((y[row] - guess) ** 2).sum()
    assert leave_one_out_error(x, y, strength) == pytest.approx(total)


def test_rows_that_are_alike_teach_the_mean():
    _, y = problem()
    intercept, slope = fit_ridge(np.ones((7, 3)), y, STRENGTHS[0])
    assert not slope.any()
    np.testing.assert_allclose(intercept, y.mean(axis=0))


def test_one_row_has_no_leave_one_out_error():
    assert np.isnan(leave_one_out_error(np.ones((1, 3)), np.ones((1, 2)), 1.0))
