"""Against the dense Gaussian process over all (run, test example) pairs, with a flat prior on each one's mean."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from gptfl.estimators.exposure_gp.inference import columns, condition, contrasts, cost, precision_of, rows_of

RUNS, TEST, SIMILARITY_SHARE, SHARED = 6, 4, 0.7, 0.6


def drawn(seed=0):
    """States of fitted and 2 asked runs, cosines of fitted and 1 new test example, and deviations of the fitted."""
    random = np.random.default_rng(seed)
    states = random.normal(size=(RUNS + 2, 5))
    vectors = random.normal(size=(TEST + 1, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return states, vectors @ vectors.T, random.normal(size=(RUNS, TEST))


def fitted(states, cosines, values):
    cols = columns(*np.linalg.eigh(cosines[:TEST, :TEST]), SIMILARITY_SHARE, SHARED)
    centred = states[: len(values)] - states[: len(values)].mean(axis=0)
    return condition(rows_of(centred @ centred.T), cols, values - values.mean(axis=0))


def dense(states, cosines, values):
    """Means and variances of asked minus fitted means, by the best linear unbiased predictor (unit variance)."""
    count = len(values)
    between = SIMILARITY_SHARE * cosines + (1 - SIMILARITY_SHARE) * np.eye(TEST + 1)
    noise = (1 - SHARED) * np.eye(TEST) + SHARED * between[:TEST, :TEST]
    runs = states @ states.T
    full = np.kron(runs[:count, :count], between[:TEST, :TEST]) + np.kron(np.eye(count), noise)
    # Contrasts are all that a flat mean leaves to be told from.
    basis = np.kron(contrasts(count), np.eye(TEST))
    inverse = basis @ np.linalg.inv(basis.T @ full @ basis) @ basis.T
    means, spreads = np.zeros((2, TEST + 1)), np.zeros((2, TEST + 1))
    for place, queried in enumerate(states[count : count + 2]):
        apart = queried - states[:count].mean(axis=0)
        cross = np.kron(apart @ states[:count].T, between[:, :TEST])
        means[place] = cross @ inverse @ values.ravel()
        own = (apart @ apart) * between.diagonal()
        spreads[place] = own - (cross @ inverse @ cross.T).diagonal()
    degrees = (count - 1) * TEST
    return means, spreads, noise.diagonal(), float(values.ravel() @ inverse @ values.ravel() / degrees)


def test_mean_spread_and_noise_are_those_of_the_dense_process():
    states, cosines, values = drawn()
    posterior = fitted(states, cosines, values)
    apart = states[:RUNS] - states[:RUNS].mean(axis=0)
    queried = states[RUNS:] - states[:RUNS].mean(axis=0)
    between = (SIMILARITY_SHARE * cosines + (1 - SIMILARITY_SHARE) * np.eye(TEST + 1))[:, :TEST]
    outputs = between @ posterior.columns.vectors
    means, spreads, noise, variance = dense(states, cosines, values)
    assert posterior.variance == pytest.approx(variance)
    np.testing.assert_allclose(posterior.mean(queried @ apart.T, outputs), means)
    found = posterior.spread(queried @ apart.T, (queried**2).sum(axis=1), outputs, np.ones(TEST + 1))
    np.testing.assert_allclose(found, variance * spreads)
    np.testing.assert_allclose(posterior.noise(), variance * noise)


def test_leaving_a_run_out_is_predicting_it_from_a_fit_to_the_others():
    states, cosines, values = drawn()
    states = states[:RUNS]
    posterior = fitted(states, cosines, values)
    errors, variances = posterior.left_out()
    for run in range(RUNS):
        others = np.delete(np.arange(RUNS), run)
        # The fit to the others centres on them, and so does the prediction; the unit of variance stays the same.
        again = replace(fitted(states[others], cosines, values[others]), variance=posterior.variance)
        centre = states[others].mean(axis=0)
        cross = (states[[run]] - centre) @ (states[others] - centre).T
        outputs = again.columns.vectors * again.columns.signal
        error = values[run] - values[others].mean(axis=0) - again.mean(cross, outputs)[0]
        np.testing.assert_allclose(errors[run], error)
        distance = np.array([((states[run] - centre) ** 2).sum()])
        spread = again.spread(cross, distance, outputs, np.ones(TEST))[0]
        np.testing.assert_allclose(variances[run], spread + again.noise() * (1 + 1 / (RUNS - 1)))


def restricted(states, cosines, values, variance):
    """The log-density of the contrasts of the runs."""
    between = SIMILARITY_SHARE * cosines[:TEST, :TEST] + (1 - SIMILARITY_SHARE) * np.eye(TEST)
    noise = (1 - SHARED) * np.eye(TEST) + SHARED * between
    full = np.kron(states[:RUNS] @ states[:RUNS].T, between) + np.kron(np.eye(RUNS), noise)
    basis = np.kron(contrasts(RUNS), np.eye(TEST))
    return multivariate_normal.logpdf(basis.T @ values.ravel(), cov=variance * basis.T @ full @ basis)


def test_the_cost_is_the_dense_restricted_likelihood_up_to_a_constant():
    found, expected = [], []
    for scale in (0.3, 1.0, 2.0):
        states, cosines, values = drawn()
        states = scale * states
        posterior = fitted(states, cosines, values)
        precision = precision_of(posterior.rows, posterior.columns)
        turned = posterior.rows.vectors.T @ (values - values.mean(axis=0)) @ posterior.columns.vectors
        squares, logs = float((turned**2 * precision).sum()), float(np.log(precision).sum())
        found.append(cost(squares, logs, RUNS - 1, TEST) * TEST)
        expected.append(-restricted(states, cosines, values, posterior.variance))
    np.testing.assert_allclose(np.diff(found), np.diff(expected))


def test_the_unit_of_variance_is_the_likeliest():
    states, cosines, values = drawn()
    best = fitted(states, cosines, values).variance
    likeliest = restricted(states, cosines, values, best)
    assert all(restricted(states, cosines, values, best * factor) < likeliest for factor in (0.98, 1.02))


def test_contrasts_are_orthonormal_and_orthogonal_to_the_mean():
    for count in (2, 5):
        basis = contrasts(count)
        np.testing.assert_allclose(basis.T @ basis, np.eye(count - 1), atol=1e-12)
        np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-12)


def test_what_runs_share_says_nothing_of_how_they_differ():
    states = drawn()[0]
    one, other = (rows_of(states[:RUNS] @ states[:RUNS].T + constant) for constant in (0.0, 100.0))
    np.testing.assert_allclose(one.values, other.values)
    np.testing.assert_allclose(np.abs(one.vectors.sum(axis=0)), 0, atol=1e-12)
