"""What further runs would tell, against covariances of effects in plain loops."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.influence import OwnEffects, influence_on_target, presentations
from gptfl.estimators.exposure_gp.outlook import combined, exposures_of, outlook_on_target, own_covariances
from gptfl.estimators.exposure_gp.target import Candidate, TargetPosterior
from tests.estimators.exposure_gp.test_model import POOL, STEPS, TEST, model

WEIGHTS = np.linspace(0.2, 1.0, TEST)


def posterior_of(made) -> TargetPosterior:
    """What is known of the target, with one point of the grid alone."""
    one = max(TargetPosterior.of(made, WEIGHTS).candidates, key=lambda candidate: candidate.share)
    return TargetPosterior((Candidate(one.rows, one.deviations, one.own, one.factor, 1.0, 1.0),))


def parts(made, places):
    return places, {name: one.train[places] for name, one in made.sources.sets.items()}


def test_the_outlook_is_the_posterior_covariance_of_effects() -> None:
    made = model()
    posterior = posterior_of(made)
    (one,) = posterior.candidates
    places = np.arange(POOL)
    told = presentations(made, *parts(made, places), WEIGHTS[None])
    cross = combined(one, told.cross)
    step, _ = made.at_end()
    own, shared = (
        made.hyper.weights[0] * step.covariances[0],
        np.tensordot(made.hyper.weights[1:], step.covariances[1:], 1),
    )
    runs = len(step.members)
    # A mean that nothing is known of, as a prior variance that is very large, and noise of variance 1.
    full = one.factor * (one.own * own + shared) + np.eye(runs) + 1e7
    inverse = np.linalg.inv(full)
    before = np.zeros((POOL, POOL))
    for i in range(POOL):
        for j in range(POOL):
            alone = told.own.scale * ((i == j) * told.own.squares[i] - 1.0 / POOL)
            both = sum(scale * float(rows[i] @ rows[j]) for scale, rows in told.shared)
            before[i, j] = one.factor * (one.own * alone + both)
    after = before - cross @ inverse @ cross.T
    seen = np.zeros(POOL)
    seen_by = made.recorded.curricula
    for run in step.members:
        for at in range(STEPS):
            for example in seen_by.batches[run, at][seen_by.batches[run, at] >= 0]:
                seen[example] += seen_by.weights[run, at] / len(step.members)
    np.testing.assert_allclose(exposures_of(made), seen)
    centred = np.eye(POOL) - np.outer(np.ones(POOL), seen / seen.sum())
    found = outlook_on_target(made, [parts(made, places[:2]), parts(made, places[2:])], WEIGHTS, posterior)
    np.testing.assert_allclose(found.targets, after @ centred.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.members, centred @ after @ centred.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.before, centred @ before @ centred.T, rtol=1e-6, atol=1e-9)
    assert found.level == pytest.approx(1.0 / runs)
    _, spread, _ = influence_on_target(made, *parts(made, places), WEIGHTS, posterior)
    np.testing.assert_allclose(found.variances, spread**2, rtol=1e-6)


def test_runs_fitted_reach_as_far_as_the_furthest_of_them() -> None:
    made = model()
    posterior = posterior_of(made)
    (one,) = posterior.candidates
    step, _ = made.at_end()
    far = [
        one.factor
        * (
            one.own * made.hyper.weights[0] * step.covariances[0, k, k]
            + made.hyper.weights[1:] @ step.covariances[1:, k, k]
        )
        for k in range(len(step.members))
    ]
    found = outlook_on_target(made, [parts(made, np.arange(POOL))], WEIGHTS, posterior)
    assert found.reach == pytest.approx(max(far))


def test_own_effects_are_those_less_the_average() -> None:
    for sizes in (np.ones(4), np.array([0.5, 1.0, 0.75, 1.75])):
        own = OwnEffects(2.0, sizes, sizes**2, sizes**2, float((sizes**2).mean()), 4)
        # The average example has a quarter of each, as far as each counts.
        apart = sizes[:, None] * (np.eye(4) - sizes / 4)
        np.testing.assert_allclose(own_covariances(own), 2.0 * apart @ apart.T)
        np.testing.assert_allclose(own.of_sums(sizes, sizes**2, sizes**2), 2.0 * (apart @ apart.T).diagonal())


def test_no_rows_are_refused() -> None:
    made = model()
    with pytest.raises(ValueError, match="no examples"):
        outlook_on_target(made, [], WEIGHTS, posterior_of(made))
