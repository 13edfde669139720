"""What is known of one weighted sum of test examples, against the dense process."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.inference import rows_of
from gptfl.estimators.exposure_gp.target import NEGLIGIBLE, Candidate, TargetPosterior
from tests.estimators.exposure_gp.worlds import TEST, world

RUNS, EFFECTS = 7, 3


def drawn(seed, share=1.0, own=1.0, factor=0.7, variance=0.3):
    """A candidate of one source, and the covariance of the runs that it is of."""
    random = np.random.default_rng(seed)
    half = random.normal(size=(RUNS, RUNS))
    rows = rows_of(half @ half.T)
    return Candidate(rows, random.normal(size=RUNS - 1), own, factor, share, variance), half @ half.T


def test_one_candidate_is_the_dense_process():
    one, kernel = drawn(0)
    random = np.random.default_rng(1)
    cross, prior = random.normal(size=(1, EFFECTS, RUNS)), np.full((1, EFFECTS), 400.0)
    found = TargetPosterior((one,))
    basis = one.rows.vectors  # orthogonal to the mean run
    data = one.factor * basis.T @ kernel @ basis + np.eye(RUNS - 1)
    ours = one.factor * cross[0] @ basis
    np.testing.assert_allclose(found.mean(cross), ours @ np.linalg.solve(data, one.deviations))
    left = one.factor * prior[0] - np.einsum("er,er->e", ours, np.linalg.solve(data, ours.T).T)
    np.testing.assert_allclose(found.variance(cross, prior), one.variance * left)
    np.testing.assert_allclose(found.before(prior), one.variance * one.factor * prior[0])


def test_several_candidates_are_mixed_by_their_shares():
    each = [drawn(seed, share, factor=factor)[0] for seed, share, factor in ((0, 0.5, 0.2), (3, 0.25, 2.0))]
    cross, prior = np.random.default_rng(1).normal(size=(1, EFFECTS, RUNS)), np.full((1, EFFECTS), 400.0)
    alone = [TargetPosterior((one,)) for one in each]
    weights = np.array([2 / 3, 1 / 3])  # what was left out as impossible is made up for
    means = np.stack([one.mean(cross) for one in alone])
    mixed = TargetPosterior(tuple(each))
    mean = weights @ means
    np.testing.assert_allclose(mixed.mean(cross), mean)
    within = weights @ np.stack([one.variance(cross, prior) for one in alone])
    np.testing.assert_allclose(mixed.variance(cross, prior), within + weights @ (means - mean) ** 2)
    np.testing.assert_allclose(mixed.before(prior), weights @ np.stack([one.before(prior) for one in alone]))


def test_own_effects_have_a_factor_of_their_own():
    one, _ = drawn(0, own=3.0, factor=0.5)
    own, shared = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    found = TargetPosterior((one,))
    np.testing.assert_allclose(found.before(np.stack([own, shared])), 0.3 * 0.5 * (3.0 * own + shared))
    np.testing.assert_allclose(found.before(own[None]), 0.3 * 0.5 * 3.0 * own)


def test_no_variance_is_below_nothing():
    one, _ = drawn(0)
    cross = np.random.default_rng(1).normal(size=(1, EFFECTS, RUNS))
    np.testing.assert_array_equal(TargetPosterior((one,)).variance(cross, np.zeros((1, EFFECTS))), 0.0)


@pytest.mark.parametrize("settings", [{}, {"features": False}])
def test_a_sum_twice_as_large_is_known_alike_in_units_twice_as_large(settings):
    model = ExposureGp(**settings).fit(world(runs=6)[0]).model_
    weights = np.linspace(0.5, 1.5, TEST) / TEST
    one, double = (TargetPosterior.of(model, scale * weights) for scale in (1.0, 2.0))
    assert all(candidate.share > NEGLIGIBLE for candidate in one.candidates)
    assert sum(candidate.share for candidate in one.candidates) == pytest.approx(1.0, abs=0.02)
    sources, runs = (2 if not settings else 1), len(model.recorded.curricula.batches)
    cross = np.random.default_rng(4).normal(size=(sources, EFFECTS, runs))
    prior = np.full((sources, EFFECTS), 1e4)
    np.testing.assert_allclose(double.mean(cross), 2 * one.mean(cross), rtol=1e-6)
    np.testing.assert_allclose(double.variance(cross, prior), 4 * one.variance(cross, prior), rtol=1e-6)


def test_runs_that_come_to_the_same_sum_leave_no_spread():
    model = ExposureGp().fit(world(runs=6)[0]).model_
    found = TargetPosterior.of(model, np.zeros(TEST))
    prior = np.full((2, EFFECTS), 1e4)
    assert np.isfinite(found.variance(np.ones((2, EFFECTS, 6)), prior)).all()
    np.testing.assert_allclose(found.before(prior), 0.0, atol=1e-200)
