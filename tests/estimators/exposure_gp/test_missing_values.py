"""Values that some runs lack, against the dense process over those observed."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.inference import columns, condition, rows_of
from gptfl.estimators.exposure_gp.missing_values import Gaps

RUNS, TEST, SIMILARITY_SHARE, SHARED = 6, 4, 0.7, 0.6


def world(share, seed=0):
    """States of fitted and 2 asked runs, the covariance of test examples, deviations, and which of them are known."""
    random = np.random.default_rng(seed)
    states = random.normal(size=(RUNS + 2, 5))
    vectors = random.normal(size=(TEST, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    known = random.random(size=(RUNS, TEST)) >= share
    known[random.integers(RUNS), ~known.any(axis=0)] = True
    values = random.normal(size=(RUNS, TEST))
    return states, vectors @ vectors.T, values, known


def dense(states, cosines, values, known):
    """Best linear unbiased predictions of asked runs with an unknown mean for each test example, and their variances."""
    between = SIMILARITY_SHARE * cosines + (1 - SIMILARITY_SHARE) * np.eye(TEST)
    noise = (1 - SHARED) * np.eye(TEST) + SHARED * between
    runs = states @ states.T
    there = known.ravel()
    full = (np.kron(runs[:RUNS, :RUNS], between) + np.kron(np.eye(RUNS), noise))[np.ix_(there, there)]
    trend = np.kron(np.ones((RUNS, 1)), np.eye(TEST))[there]
    inverse = np.linalg.inv(full)
    weight = np.linalg.inv(trend.T @ inverse @ trend)
    level = weight @ trend.T @ inverse @ values.ravel()[there]
    left = values.ravel()[there] - trend @ level
    means, variances = np.zeros((2, TEST)), np.zeros((2, TEST))
    for place in range(2):
        cross = np.kron(runs[RUNS + place, :RUNS], between)[:, there]
        means[place] = level + cross @ inverse @ left
        away = np.eye(TEST) - cross @ inverse @ trend
        own = runs[RUNS + place, RUNS + place] * between + noise
        variances[place] = (own - cross @ inverse @ cross.T + away @ weight @ away.T).diagonal()
    unit = float(left @ inverse @ left) / (there.sum() - TEST)
    return means, variances, unit


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_predictions_are_those_of_the_dense_process_over_what_is_known(share, seed):
    states, cosines, values, known = world(share, seed)
    cols = columns(*np.linalg.eigh(cosines), SIMILARITY_SHARE, SHARED)
    fitted = states[:RUNS] - states[:RUNS].mean(axis=0)
    queried = states[RUNS:] - states[:RUNS].mean(axis=0)
    level = np.nanmean(np.where(known, values, np.nan), axis=0)
    posterior = condition(rows_of(fitted @ fitted.T), cols, np.where(known, values - level, np.nan), known=known)
    means, variances, unit = dense(states, cosines, values, known)
    outputs = (SIMILARITY_SHARE * cosines + (1 - SIMILARITY_SHARE) * np.eye(TEST)) @ cols.vectors
    found = level + posterior.shift + posterior.mean(queried @ fitted.T, outputs)
    np.testing.assert_allclose(found, means, rtol=1e-6, atol=1e-8)
    assert posterior.variance == pytest.approx(unit)
    distance = (queried**2).sum(axis=1)
    spread = posterior.spread(queried @ fitted.T, distance, outputs, np.ones(TEST), np.arange(TEST))
    total = spread + posterior.noise() * (1.0 + 1.0 / RUNS)
    np.testing.assert_allclose(total, unit * variances, rtol=1e-6)


def test_what_is_missing_of_a_test_example_that_no_run_has_moves_nothing():
    states, cosines, values, known = world(0.0)
    known[:, 2] = False
    cols = columns(*np.linalg.eigh(cosines), SIMILARITY_SHARE, SHARED)
    fitted = states[:RUNS] - states[:RUNS].mean(axis=0)
    posterior = condition(rows_of(fitted @ fitted.T), cols, np.where(known, values, np.nan), known=known)
    assert posterior.shift[2] == pytest.approx(0.0, abs=1e-4)
    assert np.isfinite(posterior.dual).all()
    # Deviations of the others are told as if it had never been asked about.
    kept = np.array([0, 1, 3])
    whole = np.linalg.inv(
        np.kron(fitted @ fitted.T, SIMILARITY_SHARE * cosines[np.ix_(kept, kept)] + (1 - SIMILARITY_SHARE) * np.eye(3))
        + np.kron(
            np.eye(RUNS),
            (1 - SHARED) * np.eye(3)
            + SHARED * (SIMILARITY_SHARE * cosines[np.ix_(kept, kept)] + (1 - SIMILARITY_SHARE) * np.eye(3)),
        )
    )
    trend = np.kron(np.ones((RUNS, 1)), np.eye(3))
    given = values[:, kept].ravel()
    level = np.linalg.solve(trend.T @ whole @ trend, trend.T @ whole @ given)
    dual = (whole @ (given - trend @ level)).reshape(RUNS, 3)
    ours = posterior.dual @ cols.vectors.T
    np.testing.assert_allclose(ours[:, kept], dual, rtol=1e-4, atol=1e-6)


def test_gaps_are_filled_with_what_the_others_tell_of_them():
    random = np.random.default_rng(3)
    rows, cols = (np.linalg.qr(random.normal(size=(size, size)))[0] for size in (3, 2))
    precision = random.uniform(0.5, 2.0, size=(3, 2))
    whole = np.kron(rows, cols) @ np.diag(precision.ravel()) @ np.kron(rows, cols).T
    known = np.array([[True, False], [True, True], [False, True]])
    values = random.normal(size=(3, 2))
    found = Gaps.of(known, np.where(known, values, np.nan), rows, cols, precision)
    gone, there = np.flatnonzero(~known.ravel()), np.flatnonzero(known.ravel())
    inner = whole[np.ix_(gone, gone)]
    expected = -np.linalg.solve(inner, whole[np.ix_(gone, there)] @ values.ravel()[there])
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    np.testing.assert_allclose(found.root @ found.root.T, inner, rtol=1e-6)
    filled = found.filled(values)
    np.testing.assert_array_equal(filled[known], values[known])
    np.testing.assert_allclose(filled[~known], expected, rtol=1e-6)
