import numpy as np
import pytest

from gptfl.estimators.exposure_gp.conditioning import OWN, TRUST, LeftOut, conditioned, right_width

RUNS, STEPS, TEST = 2, 6, 4


def drawn(seed=0):
    random = np.random.default_rng(seed)
    gaps = np.abs(np.arange(STEPS)[:, None] - np.arange(STEPS)[None])
    mean, spread = random.normal(size=(RUNS, STEPS, TEST)), random.uniform(0.5, 2, size=(RUNS, STEPS, TEST))
    observed = random.normal(size=(RUNS, STEPS, TEST))
    observed[random.random(observed.shape) < 0.5] = np.nan
    observed[1, :, 2] = np.nan
    return mean, spread, observed, np.exp(-gaps / 3)


def test_matches_the_dense_conditional_of_each_trajectory():
    mean, spread, observed, correlation = drawn()
    found, left = conditioned(mean, spread, observed, correlation)
    for run in range(RUNS):
        for test in range(TEST):
            known = np.isfinite(observed[run, :, test])
            scale = spread[run, :, test]
            covariance = scale[:, None] * correlation * scale
            seen = covariance[np.ix_(known, known)] + OWN * np.diag(scale[known] ** 2)
            gain = covariance[:, known] @ np.linalg.pinv(seen)
            expected = mean[run, :, test] + gain @ (observed[run, known, test] - mean[run, known, test])
            variance = covariance.diagonal() - (gain @ covariance[known]).diagonal()
            np.testing.assert_allclose(found[run, :, test], expected)
            np.testing.assert_allclose(left[run, :, test], np.sqrt(variance), atol=1e-7)


def test_observed_points_are_met_and_neighbours_move_towards_them():
    mean, spread, _, correlation = drawn()
    observed = np.full(mean.shape, np.nan)
    observed[0, 2] = mean[0, 2] + 1.0
    found, left = conditioned(mean, spread, observed, correlation)
    np.testing.assert_allclose(found[0, 2], observed[0, 2], atol=2e-4)
    assert (left[0, 2] < 0.02 * spread[0, 2]).all()
    for step in (1, 3):
        assert (found[0, step] > mean[0, step]).all()
        assert (left[0, step] < spread[0, step]).all()
    np.testing.assert_array_equal(found[1], mean[1])
    np.testing.assert_array_equal(left[1], spread[1])


def test_nothing_observed_changes_nothing_nor_does_the_question():
    mean, spread, observed, correlation = drawn()
    given = [one.copy() for one in (mean, spread, observed)]
    found = conditioned(mean, spread, np.full(mean.shape, np.nan), correlation)
    np.testing.assert_array_equal(found[0], mean)
    np.testing.assert_array_equal(found[1], spread)
    conditioned(mean, spread, observed, correlation)
    for one, other in zip((mean, spread, observed), given, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_certain_stays_as_it_is():
    mean, spread, observed, correlation = drawn()
    spread[:, 0], observed[:, 0] = 0.0, 5.0
    found, left = conditioned(mean, spread, observed, correlation)
    np.testing.assert_array_equal(found[:, 0], mean[:, 0])
    assert np.isfinite(found).all()
    assert (left[:, 0] == 0).all()


@pytest.mark.parametrize("repeats", [2, 30])
def test_steps_that_are_wholly_alike_are_no_trouble(repeats):
    mean, spread = np.zeros((1, repeats, 1)), np.ones((1, repeats, 1))
    found, left = conditioned(mean, spread, np.ones((1, repeats, 1)), np.ones((repeats, repeats)))
    np.testing.assert_allclose(found, 1.0, atol=1e-3)
    assert (left >= 0).all()


def test_spreads_are_what_would_have_been_right_for_runs_left_out():
    mean, spread, observed, correlation = drawn()
    random = np.random.default_rng(3)
    errors = (
        np.linalg.cholesky(correlation) @ random.normal(size=(40, STEPS, 50)) * np.linspace(0.5, 2.0, STEPS)[:, None]
    )
    errors[0] = np.nan
    plain, calibrated = (
        conditioned(mean, spread, observed, correlation),
        conditioned(
            mean, spread, observed, correlation, [LeftOut(errors[:9], correlation), LeftOut(errors[9:], correlation)]
        ),
    )
    np.testing.assert_array_equal(calibrated[0], plain[0])
    for run in range(RUNS):
        for test in range(TEST):
            known = np.isfinite(observed[run, :, test])
            if not known.any():
                np.testing.assert_array_equal(calibrated[1][run, :, test], plain[1][run, :, test])
                continue
            gain = correlation[:, known] @ np.linalg.inv(correlation[np.ix_(known, known)] + OWN * np.eye(known.sum()))
            left = 1.0 - (gain @ correlation[known]).diagonal()
            for step in np.flatnonzero(~known):
                remaining = [
                    abs(errors[k, step, j] - gain[step] @ errors[k, known, j]) for k in range(1, 40) for j in range(50)
                ]
                ratio = np.quantile(remaining, 0.9) / 1.6449 / np.sqrt(left[step])
                factor = np.sqrt((TRUST + 39 * ratio**2) / (TRUST + 39))
                np.testing.assert_allclose(calibrated[1][run, step, test], plain[1][run, step, test] * factor)
    right = LeftOut(np.linalg.cholesky(correlation) @ random.normal(size=(40, STEPS, 50)), correlation)
    same = conditioned(mean, spread, observed, correlation, [right])[1]
    np.testing.assert_allclose(same, plain[1], rtol=0.1, atol=1e-9)


def test_each_part_is_judged_by_what_the_other_runs_tell():
    mean, spread, _, correlation = drawn()
    observed = np.full(mean.shape, np.nan)
    observed[:, 2] = 0.5
    random, other = np.random.default_rng(1), 0.5 * np.eye(STEPS) + 0.5
    parts = [LeftOut(random.normal(size=(5, STEPS, 7)), one) for one in (correlation, other)]
    left = conditioned(mean, spread, observed, correlation)[1]
    found = conditioned(mean, spread, observed, correlation, parts)[1]
    for step in (0, 1, 3, 4, 5):
        apart = [
            (part.errors[:, step] - g * part.errors[:, 2]) / np.sqrt(1.0 - g * part.correlation[step, 2])
            for part in parts
            for g in [part.correlation[step, 2] / (1.0 + OWN)]
        ]
        factor = right_width(np.concatenate(apart), 10)
        np.testing.assert_allclose(found[:, step], factor * left[:, step])
