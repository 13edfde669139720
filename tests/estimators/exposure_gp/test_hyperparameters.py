"""The likeliest hyperparameters, against other places and against numerical slopes."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import hyperparameters
from gptfl.estimators.exposure_gp.hyperparameters import choose
from gptfl.estimators.exposure_gp.inference import columns, contrasts
from gptfl.estimators.exposure_gp.likelihood import Evidence, weigh
from gptfl.estimators.exposure_gp.process import Curricula, states, steps_of
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel
from gptfl.estimators.exposure_gp.step_posterior import solve
from tests.estimators.exposure_gp.processes import POOL, RECORDED, RUNS, TEST, steps, world


def likelihood(made, weights, similarity_share, shared, power=1.0):
    """Minus the log-likelihood, the scales fitted."""
    kernel = made[2].raised(power)
    evidence = []
    for step in steps(made):
        basis = contrasts(len(step.members))
        parts = np.concatenate([step.deviations[None], step.expected])
        evidence.append(Evidence(basis.T @ step.covariances @ basis, basis.T @ parts @ kernel.vectors))
    cols = columns(kernel.values, kernel.vectors, similarity_share, shared)
    return weigh(evidence, np.asarray(weights), cols.signal, cols.noise)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_chosen_is_about_as_likely_as_anything(seed):
    made = world(seed)
    hyper, _ = choose(steps(made), made[2], True)
    chosen = likelihood(made, hyper.weights, hyper.similarity_share, hyper.shared, hyper.power)
    np.testing.assert_allclose(chosen.scales, hyper.scales)
    random = np.random.default_rng(seed)
    others = [
        likelihood(made, np.exp(random.uniform(-3, 5, size=2)), *random.uniform(0.02, 0.98, size=2)).cost
        for _ in range(60)
    ]
    # The priors may cost a little likelihood, far less than it varies by.
    assert chosen.cost < min(others) + 3.0
    assert np.ptp(others) > 20


def test_truth_is_no_likelier_than_what_is_chosen():
    """Deviations drawn from the model itself, at hyperparameters that are their priors' middles."""
    runs, examples, kernel, values = world()
    random = np.random.default_rng(5)
    blank = steps((runs, examples, kernel, values))
    weights, similarity_share, shared = np.exp([-1.0, 1.5]), 0.73, 0.82
    cols = columns(kernel.values, kernel.vectors, similarity_share, shared)
    for row, step in zip((1, 2, 3), blank, strict=True):
        signal = np.linalg.cholesky(np.tensordot(weights, step.covariances, 1) + 1e-9 * np.eye(RUNS))
        drawn = signal @ random.normal(size=(RUNS, TEST)) * np.sqrt(cols.signal)
        drawn += random.normal(size=(RUNS, TEST)) * np.sqrt(cols.noise)
        values[:, row] = 3.0 + drawn @ cols.vectors.T
    made = (runs, examples, kernel, values)
    hyper, density = choose(steps(made), kernel, True)
    truth = likelihood(made, weights, similarity_share, shared)
    # At the priors' middles they cost nothing.
    assert density <= truth.cost + 0.02
    assert hyper.scales[0] < 0.05 * 3


def test_choosing_is_deterministic_and_needs_no_likeness():
    made = world()
    one, other = (choose(steps(made), made[2], True) for _ in range(2))
    np.testing.assert_array_equal(one[0].weights, other[0].weights)
    assert one[1] == other[1]
    plain, _ = choose(steps(made), SimilarityKernel.of(None, TEST), False)
    assert (plain.similarity_share, plain.shared) == (0.0, 0.0)


def test_the_expectation_is_found_and_taken_off():
    made = world()
    all_steps = steps(made)
    hyper, _ = choose(all_steps, made[2], True)
    assert hyper.scales[0] == pytest.approx(0.1, rel=0.2)
    kernel = made[2].raised(hyper.power)
    posterior = solve(all_steps[-1], hyper, kernel)
    without = solve(all_steps[-1], replace(hyper, scales=np.zeros(1)), kernel)
    assert posterior.variance < without.variance


@pytest.mark.parametrize("same", ["curriculum", "values", "both"])
def test_runs_that_do_not_differ_teach_nothing_and_break_nothing(same):
    runs, examples, kernel, values = world()
    if same != "values":
        runs = Curricula(np.repeat(runs.batches[:1], RUNS, axis=0), np.repeat(runs.learning_rates[:1], RUNS, axis=0))
    if same != "curriculum":
        values = np.repeat(values[:1], RUNS, axis=0)
    made = steps((runs, examples, kernel, values))
    hyper, cost = choose(made, kernel, True)
    assert np.isfinite(cost)
    assert np.isfinite(hyper.weights).all()
    assert hyper.scales[0] == pytest.approx(0, abs=1e-9)
    assert np.isfinite(solve(made[-1], hyper, kernel).dual).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slopes_are_those_of_the_cost(seed):
    made = world(seed)
    search = hyperparameters._Search(steps(made), made[2], True)
    place = search.centre + np.random.default_rng(seed).normal(scale=0.5, size=len(search.centre))
    slopes = search.cost(place)[1]
    for number in range(len(place)):
        step = np.zeros(len(place))
        step[number] = 1e-5
        ends = [search.cost(place + side * step)[0] for side in (-1.0, 1.0)]
        assert slopes[number] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_power_of_the_likeness_is_found(power):
    """Deviations of many test examples drawn as noise of the model, their likeness's spectrum raised."""
    runs, examples, _, _ = world()
    random = np.random.default_rng(3)
    tests = 60
    vectors = random.normal(size=(tests, 8)) * np.array([4.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25])
    kernel = replace(SimilarityKernel.of(vectors, tests), sizes=np.ones(tests))
    cols = columns(kernel.raised(power).values, kernel.vectors, 0.95, 0.95)
    values = (random.normal(size=(RUNS, 3, tests)) * np.sqrt(cols.noise)) @ np.asarray(kernel.vectors).T
    came = states(runs, RECORDED[1:], replace(examples, expected=()), POOL)
    made = list(steps_of(values, np.ones((3, tests)), came, kernel))
    found, _ = choose(made, kernel, True)
    assert found.power == pytest.approx(power, rel=0.3)
