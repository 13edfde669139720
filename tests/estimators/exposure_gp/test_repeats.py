"""Runs that repeat one another, against averages written out."""

import numpy as np

from gptfl.estimators.exposure_gp.inference import columns, condition, rows_of
from gptfl.estimators.exposure_gp.repeats import averaging, first_of, repeats_of

GROUPS = np.array([0, 1, 0, 3, 1, 0])


def test_averaging_puts_the_mean_of_its_group_in_each_place():
    values = np.random.default_rng(0).normal(size=(6, 2))
    expected = [values[np.flatnonzero(group == GROUPS)].mean(axis=0) for group in GROUPS]
    np.testing.assert_allclose(averaging(GROUPS) @ values, expected, atol=1e-12)
    assert first_of(GROUPS).tolist() == [0, 1, 3]


def test_repeats_saw_the_same_examples_about_as_often():
    batches = np.array([[[0, 1], [2, 1]], [[1, 2], [0, 1]], [[0, 1], [0, 2]], [[3, 4], [3, -1]], [[2, 2], [2, 2]]])
    exposures = np.stack([np.bincount(one[one >= 0], minlength=5) for one in batches]).astype(float)
    assert repeats_of(batches, exposures).tolist() == [0, 0, 2, 3, 4]
    assert repeats_of(batches[:1], exposures[:1]).tolist() == [0]


def test_of_repeats_only_the_mean_counts():
    """By what they differ changes nothing; and their means, with less noise, are what is learned from."""
    random = np.random.default_rng(1)
    states = random.normal(size=(6, 9))
    covariance, deviations = states @ states.T, random.normal(size=(6, 3))
    cols = columns(np.ones(3), np.eye(3), 0.0, 0.0)
    rows = rows_of(covariance, None, GROUPS)
    assert rows.repeats.tolist() == [3, 2, 3, 1, 2, 3]
    deviations -= deviations.mean(axis=0)
    found = condition(rows, cols, deviations)
    np.testing.assert_allclose(condition(rows, cols, averaging(GROUPS) @ deviations).dual, found.dual, atol=1e-12)

    # The same from the three means alone, whose noise is a third, a half and the whole of a run's.
    means = np.stack([deviations[group == GROUPS].mean(axis=0) for group in (0, 1, 3)])
    together = np.stack([states[group == GROUPS].mean(axis=0) for group in (0, 1, 3)])
    full = together @ together.T + np.diag([1 / 3, 1 / 2, 1.0])
    inverse = np.linalg.inv(full)
    ones = np.ones(3)
    inverse -= np.outer(inverse @ ones, ones @ inverse) / (ones @ inverse @ ones)
    cross = random.normal(size=(2, 9)) @ together.T
    spread = cross[:, [0, 1, 0, 2, 1, 0]]
    # Both leave the mean over runs open, so that only differences between asked runs are told by either.
    ours = found.mean(spread, np.eye(3))
    np.testing.assert_allclose(np.diff(ours, axis=0), np.diff(cross @ inverse @ means, axis=0), atol=1e-9)


def test_a_group_is_left_out_as_one():
    random = np.random.default_rng(2)
    states = random.normal(size=(6, 9))
    covariance, deviations = states @ states.T, random.normal(size=(6, 2))
    deviations -= deviations.mean(axis=0)
    cols = columns(np.ones(2), np.eye(2), 0.0, 0.0)
    error, variance = condition(rows_of(covariance, None, GROUPS), cols, deviations).left_out()
    means = np.stack([deviations[group == GROUPS].mean(axis=0) for group in (0, 1, 3)])
    together = np.stack([states[group == GROUPS].mean(axis=0) for group in (0, 1, 3)])
    full = together @ together.T + np.diag([1 / 3, 1 / 2, 1.0])
    # The error and variance of each mean given the others and a flat mean: through the precision matrix.
    inverse, ones = np.linalg.inv(full), np.ones(3)
    inverse -= np.outer(inverse @ ones, ones @ inverse) / (ones @ inverse @ ones)
    expected = (inverse @ means) / inverse.diagonal()[:, None]
    np.testing.assert_allclose(error[[0, 1, 3]], expected, atol=1e-9)
    np.testing.assert_allclose(error[GROUPS == 0], np.tile(expected[0], (3, 1)), atol=1e-9)
    ratio = variance[[0, 1, 3], 0] * inverse.diagonal()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
