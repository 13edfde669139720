from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize, nnls
from scipy.stats import multivariate_normal

from gptfl.estimators.exposure_gp.likelihood import Evidence, least_squares, likeliest, weigh

ROWS, TEST = 5, 4


def drawn(steps=3, expected=2, seed=0):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(steps):
        states = [random.normal(size=(ROWS, 6)) for _ in range(2)]
        parts = random.normal(size=(1 + expected, ROWS, TEST))
        parts[0] += 0.8 * parts[1:].sum(axis=0)
        made.append(Evidence(np.stack([one @ one.T for one in states]), parts))
    return made, np.array([0.5, 1.5]), np.array([0.3, 0.6, 1.0, 2.0]), np.array([1.0, 0.9, 0.8, 1.1])


def nearby(evidence, seed=1):
    """The same, where runs share noise with one another."""
    random = np.random.default_rng(seed)
    places = random.normal(size=(ROWS, 2))
    near = np.exp(-((places[:, None] - places[None]) ** 2).sum(axis=2))
    return [replace(step, near=near) for step in evidence]


def densities(evidence, weights, signal, noise, scales, lack=0.0):
    """The log-density of each step's rows, at its likeliest variance."""
    found = []
    for step in evidence:
        left = (step.parts[0] - np.tensordot(scales, step.parts[1:], 1)).ravel()
        runs = np.tensordot(weights, step.covariances, 1)
        full = np.kron(runs, np.diag(signal))
        shared = np.eye(ROWS) if step.near is None else (1 - lack) * np.eye(ROWS) + lack * step.near
        full += np.kron(shared, np.diag(noise))
        variance = left @ np.linalg.solve(full, left) / len(left)
        found.append(multivariate_normal.logpdf(left, cov=variance * full))
    return np.array(found)


def test_the_cost_is_minus_the_dense_log_likelihood_up_to_a_constant():
    evidence, weights, signal, noise = drawn()
    costs, expected = [], []
    for factor in (0.2, 1.0, 3.0):
        found = weigh(evidence, factor * weights, signal, noise)
        costs.append(found.cost)
        expected.append(-densities(evidence, factor * weights, signal, noise, found.scales).mean())
    np.testing.assert_allclose(np.diff(costs), np.diff(expected))


def test_the_cost_of_noise_that_runs_share_is_the_dense_one():
    evidence, weights, signal, noise = drawn()
    evidence, costs, expected = nearby(evidence), [], []
    for lack in (0.0, 0.3, 0.9):
        found = weigh(evidence, weights, signal, noise, lack)
        costs.append(found.cost)
        expected.append(-densities(evidence, weights, signal, noise, found.scales, lack).mean())
    np.testing.assert_allclose(np.diff(costs), np.diff(expected))
    ends = [weigh(evidence, weights, signal, noise, 0.3 + gap).cost for gap in (1e-5, -1e-5)]
    slope = weigh(evidence, weights, signal, noise, 0.3).lack
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("expected", [0, 2])
def test_the_slopes_are_the_derivatives(expected):
    evidence, weights, signal, noise = drawn(expected=expected)
    found = weigh(evidence, weights, signal, noise)
    for number, slope in enumerate((found.weights, found.signal, found.noise)):
        for place in range(len(slope)):
            ends = []
            for sign in (1, -1):
                given = [weights.copy(), signal.copy(), noise.copy()]
                given[number][place] += sign * 1e-5
                ends.append(weigh(evidence, *given).cost)
            # The scales follow in a few rounds, so that the slopes are as exact as these are.
            assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-4)


def test_the_scales_are_the_likeliest_that_are_not_negative():
    evidence, weights, signal, noise = drawn(expected=3)
    for step in evidence:
        step.parts[3] = -step.parts[0] + 0.1 * step.parts[3]
    found = weigh(evidence, weights, signal, noise).scales
    assert found[2] == 0
    best = minimize(
        lambda scales: -densities(evidence, weights, signal, noise, scales).mean(),
        np.ones(3),
        bounds=[(0, None)] * 3,
        method="L-BFGS-B",
    )
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def test_least_squares_from_products_are_those_from_the_parts():
    random = np.random.default_rng(1)
    parts = random.normal(size=(4, 30)) * np.array([1.0, 1e-6, 10.0, 1e3])[:, None]
    parts[0] += 1e6 * parts[1] - parts[2] + 1e-3 * parts[3]
    expected = nnls(parts[1:].T, parts[0])[0]
    assert expected[1] == 0
    np.testing.assert_allclose(least_squares(parts @ parts.T), expected, rtol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_part_is_fitted_as_among_others_of_no_length(sign):
    one, among = np.array([[9.0, sign], [sign, 4.0]]), np.zeros((3, 3))
    among[:2, :2] = one
    (scale,) = least_squares(one)
    assert scale == pytest.approx(0.25 if sign > 0 else 0.0, rel=1e-8)
    np.testing.assert_allclose(least_squares(among), [scale, 0.0], rtol=1e-8)
    np.testing.assert_array_equal(least_squares(np.diag([1.0, 0.0])), [0.0])


def test_what_is_expected_of_all_runs_alike_gets_no_scale():
    products = np.zeros((2, 3, 3))
    products[:, 0, 0] = 1.0
    np.testing.assert_array_equal(likeliest(products), [0.0, 0.0])
    products[:, 1, 1], products[:, 0, 1], products[:, 1, 0] = 4.0, 2.0, 2.0
    np.testing.assert_allclose(likeliest(products), [0.5, 0.0])
    np.testing.assert_array_equal(likeliest(np.zeros((2, 3, 3))), [0.0, 0.0])
