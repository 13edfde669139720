"""What is known at one step, against a dense search."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.deviation_sizes import PRIOR_RUNS
from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.inference import columns, rows_of
from gptfl.estimators.exposure_gp.step_posterior import covariances, floored, solve, strength_of, whole
from tests.estimators.exposure_gp.processes import steps, world


def test_a_steps_own_strength_is_the_likeliest_beside_its_prior():
    random = np.random.default_rng(3)
    half = random.normal(size=(9, 4))
    rows, cols = rows_of(half @ half.T), columns(np.ones(6), np.eye(6), 0.5, 0.5)
    for true in (0.1, 1.0, 10.0):
        # With so many test examples that the runs tell them apart, it is found whatever the prior.
        many = columns(np.ones(4000), np.eye(4000), 0.5, 0.5)
        root = np.linalg.cholesky(true * half @ half.T + np.eye(9))
        assert strength_of(rows, many, root @ random.normal(size=(9, 4000))) == pytest.approx(true, rel=0.15)
    assert strength_of(rows, cols, np.zeros((9, 6))) == 1.0


def test_covariances_are_products_of_distances_from_the_runs_fitted_there():
    random = np.random.default_rng(0)
    (step,) = steps(world(), (2,))
    step = replace(step, members=np.array([0, 2, 5]), units=np.array([2.0, 0.5]))
    requested, fitted = ([random.normal(size=(count, width)) for width in (4, 3)] for count in (2, 6))
    cross, variances = covariances(step, np.array([0.7, 1.3]), requested, fitted)
    for run in range(2):
        expected, variance = np.zeros(3), 0.0
        for weight, unit, theirs, ours in zip((0.7, 1.3), (2.0, 0.5), requested, fitted, strict=True):
            centre = ours[[0, 2, 5]].mean(axis=0)
            distance = theirs[run] - centre
            expected += weight / unit * np.array([distance @ (ours[member] - centre) for member in (0, 2, 5)])
            variance += weight / unit * distance @ distance
        np.testing.assert_allclose(cross[run], expected)
        np.testing.assert_allclose(variances[run], variance)


def test_a_step_with_all_values_is_whole_and_another_is_that_of_the_complete_runs_or_is_filled():
    made = world()
    kernel = made[2]
    (step,) = steps(made, (2,))
    assert whole(step, kernel, has_vectors=True) is step
    known = np.ones(step.deviations.shape, dtype=bool)
    known[[1, 4], 3] = False
    few = replace(step, known=known, deviations=np.where(known, step.deviations, 0.0))
    found = whole(few, kernel, has_vectors=True)
    np.testing.assert_array_equal(found.members, np.delete(step.members, [1, 4]))
    known[:, 3] = np.arange(len(known)) < 3  # more than half of the runs lack it
    many = replace(step, known=known, deviations=np.where(known, step.deviations, 0.0))
    found = whole(many, kernel, has_vectors=True)
    assert found.known is None
    np.testing.assert_array_equal(found.members, step.members)
    there = known[:, :3]
    np.testing.assert_allclose(found.deviations[:, :3][there], many.deviations[:, :3][there])
    assert (found.deviations[~known] != 0.0).all()


def test_a_step_at_which_runs_happen_not_to_differ_gets_the_spread_of_the_others():
    made = world()
    kernel = made[2]
    three = steps(made)
    hyper = Hyper(np.ones(2), 0.5, 0.5, np.zeros(1), np.ones(kernel.vectors.shape[0]))
    solved = [(step, solve(step, hyper, kernel)) for step in three]
    assert floored(solved, np.array([4, 8, 12])) == solved, "all move"
    still = replace(three[0], reference=0.0, size=np.zeros_like(three[0].size))
    given = [(still, solved[0][1]), *solved[1:]]
    (filled, posterior), *others = floored(given, np.array([4, 8, 12]))
    assert others == solved[1:]
    share = PRIOR_RUNS / (PRIOR_RUNS + len(still.members) - 1)
    variance = np.mean([one.variance * step.size**2 for step, one in solved[1:]], axis=0)
    np.testing.assert_allclose(filled.size**2 * posterior.variance, share * variance)
    assert filled.reference > 0
    # Before the first step no run has seen anything.
    assert floored(given, np.array([0, 8, 12])) == given
    nobody = [(still, solved[0][1])]
    assert floored(nobody, np.array([4])) == nobody
