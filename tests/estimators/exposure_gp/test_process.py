from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.inference import columns, contrasts
from gptfl.estimators.exposure_gp.likelihood import Evidence, weigh
from gptfl.estimators.exposure_gp.process import (
    RECENT,
    Curricula,
    Examples,
    SimilarityKernel,
    choose,
    sizes_of,
    states,
    steps_of,
)
from gptfl.estimators.exposure_gp.step_posterior import solve
from gptfl.estimators.exposures import exposures
from tests.estimators.exposure_gp.processes import POOL, RECORDED, RUNS, TEST, steps, world


def test_states_are_exposures_times_vectors():
    runs, examples, _, _ = world()
    seen = exposures(runs.batches, runs.learning_rates, RECORDED, POOL)
    renumbered = Examples(np.arange(POOL)[::-1] + 2, examples.shared, examples.expected)
    for row, (effects, expected) in enumerate(states(runs, RECORDED, renumbered, POOL + 2)):
        np.testing.assert_allclose(effects[0][:, 2:], seen[:, row, ::-1])
        np.testing.assert_allclose(effects[1], seen[:, row] @ examples.shared[0].rows[0], atol=1e-12)
        np.testing.assert_allclose(expected[0], seen[:, row] @ examples.expected[0].rows[0], atol=1e-12)


def test_steps_hold_centred_states_of_the_runs_recorded_there():
    made = world()
    runs, examples, _, values = made
    values[3, 2:] = np.nan
    step = steps(made)[1]
    members = np.delete(np.arange(RUNS), 3)
    assert step.members.tolist() == members.tolist()
    seen = exposures(runs.batches, runs.learning_rates, RECORDED[2:3], POOL)[members, 0]
    centred = seen - seen.mean(axis=0)
    np.testing.assert_allclose(step.covariances[0] * step.units[0], centred @ centred.T, atol=1e-12)
    assert np.trace(step.covariances[1]) == pytest.approx(len(members) - 1)
    there = values[members, 2]
    np.testing.assert_allclose(step.deviations * step.size, there - there.mean(axis=0), atol=1e-12)
    expected = seen @ examples.expected[0].rows[0]
    np.testing.assert_allclose(step.common[0], expected.mean(axis=0))
    np.testing.assert_allclose(step.expected[0] * step.size, expected - expected.mean(axis=0), atol=1e-12)


def test_sizes_lie_between_what_was_found_and_what_was_expected_by_the_number_of_runs():
    random = np.random.default_rng(0)
    truth, beforehand = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 2.0])
    few, many = (random.normal(size=(count, 3)) * truth for count in (3, 3000))
    found, _ = sizes_of(many - many.mean(axis=0), None, beforehand)
    np.testing.assert_allclose(found, truth, rtol=0.1)
    drawn, reference = sizes_of(few - few.mean(axis=0), None, beforehand)
    own = few.std(axis=0, ddof=1)
    level = np.sqrt((own**2).mean())
    assert reference * 2.0 == pytest.approx(level)
    assert ((drawn - own) * (level - own) >= 0).all()
    assert (np.abs(drawn - level) < np.abs(own - level)).all()
    none, reference = sizes_of(np.zeros((4, 3)), None, beforehand)
    assert none.tolist() == [1, 1, 1]
    assert reference == 0


def test_sizes_are_told_by_all_runs_also_by_those_that_repeat_others():
    """Two orders of three sets: the first batches of one order are alike, and the other order's are not."""
    runs, examples, kernel, values = world()
    values[:3, 1] = values[0, 1]
    values[3:6, 1] = values[0, 1] + 2.0
    curricula = Curricula(runs.batches[:6], runs.learning_rates[:6])
    step = next(
        steps_of(
            values[:6, 1:2],
            np.ones((1, TEST)),
            states(curricula, RECORDED[1:2], examples, POOL),
            kernel,
            groups=np.array([0, 1, 2, 0, 1, 2]),
        )
    )
    assert step.groups.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(np.abs(step.deviations * step.size), 1.0)
    level = 6.0 / 5.0
    unit = level / np.mean(kernel.sizes**2)
    np.testing.assert_allclose(step.size, np.sqrt((4.0 * unit * kernel.sizes**2 + 6.0) / (4.0 + 5.0)))


def test_likeness_is_the_cosines_and_the_lengths():
    vectors = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    kernel = SimilarityKernel.of(vectors, 3)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(kernel.cosines, [[1, 0, half], [0, 1, half], [half, half, 1]], atol=1e-12)
    assert np.mean(kernel.sizes**2) == pytest.approx(1)
    assert kernel.sizes[1] / kernel.sizes[0] == pytest.approx(4 / 3)
    alone = SimilarityKernel.of(None, 3)
    np.testing.assert_array_equal(alone.cosines, np.zeros((3, 3)))


def likelihood(made, weights, similarity_share, shared):
    """Minus the log-likelihood, the scales fitted."""
    kernel = made[2]
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
    chosen = likelihood(made, hyper.weights, hyper.similarity_share, hyper.shared)
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
    posterior = solve(all_steps[-1], hyper, made[2])
    without = solve(all_steps[-1], replace(hyper, scales=np.zeros(1)), made[2])
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


def test_what_was_seen_lately_is_a_source_of_its_own_where_gradients_are():
    vectors = Vectors(np.array([0]), np.random.default_rng(0).normal(size=(1, 5, 2)))
    runs = Curricula(np.array([[[0], [1], [2]], [[2], [1], [0]]]), np.ones((2, 3)))
    without, with_recent = (Examples(np.arange(5), (vectors,), (), recent) for recent in (None, vectors))
    found = [len(effects) for examples in (without, with_recent) for effects, _ in states(runs, [3], examples, 5)]
    assert found == [2, 2 + len(RECENT)]
    # The two runs have seen the same examples, in other orders: only what was seen lately tells them apart.
    for effects, _ in states(runs, [3], with_recent, 5):
        assert [np.allclose(one[0], one[1]) for one in effects] == [True, True, False, False]
