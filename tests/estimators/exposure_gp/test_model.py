"""Predictions and influences against the dense Gaussian process over the states of runs."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from gptfl.core.links import Link
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.inference import contrasts
from gptfl.estimators.exposure_gp.inputs import Sides, Sources
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import RECENT, Curricula
from gptfl.estimators.exposure_gp.repeats import NEAR
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns
from gptfl.estimators.exposures import exposures

RUNS, POOL, TEST, STEPS = 7, 6, 4, 8
RECORDED = np.array([0, 3, 8])
POINTS = (0, 5)
WEIGHTS = np.array([0.4, 1.5, 0.7, 0.3, 0.9])


def model(hyper=True, link=None, seed=0, ended=False, runs=RUNS, lack=None, powers=(1.0, 1.0)):
    random = np.random.default_rng(seed)
    curricula = Curricula(
        random.integers(-1, POOL - 1, size=(runs, STEPS, 2)), random.uniform(0.5, 1, size=(runs, STEPS))
    )
    values = 3 + np.exp(0.3 * random.normal(size=(runs, 3, TEST)))
    values[:, 0] = 3.0
    if ended:
        values[2, 2] = np.nan
    sets = {
        f"{path}-{point}": Sides(random.normal(size=(POOL, 3)), random.normal(size=(TEST, 3)), True)
        for path in ("raw", "preconditioned")
        for point in POINTS
    }
    sources = Sources.of(sets)
    scales = np.linspace(0.02, 0.05, len(expectations(sources)))
    given = Hyper(WEIGHTS, 0.6, 0.8, scales, np.linspace(0.5, 1.5, TEST), lack or 0.0, *powers) if hyper else None
    return ExposureModel(RecordedRuns(curricula, RECORDED, values, POOL), sources, link or Link("identity"), given)


def expectations(sources):
    return sources.expected(sources.of_fitted(), {name: one.test for name, one in sources.sets.items()})


def states(made, runs, row):
    """Where runs have come to, in own and shared effects and as expected, by exposures to each point's vectors."""
    steps = RECORDED[row : row + 1]
    found = [exposures(runs.batches, runs.learning_rates, steps, POOL)[:, 0]]
    expected = [Vectors(one.points, one.rows * made.hyper.factors) for one in expectations(made.sources)]
    shared = made.sources.of_fitted()
    lately = [(made.sources.recent(shared), reach) for reach in RECENT]
    for vectors, reach in (*((one, np.inf) for one in shared), *lately, *((one, np.inf) for one in expected)):
        total = np.zeros((len(runs.batches), vectors.rows.shape[2]))
        for taken in range(int(steps[0])):
            single = np.zeros_like(runs.learning_rates)
            single[:, taken] = runs.learning_rates[:, taken]
            seen = exposures(runs.batches, single, steps, POOL)[:, 0]
            for point, weight in vectors.weights(taken):
                fading = np.exp(-(int(steps[0]) - 1 - taken) / reach)
                total += weight * fading * seen @ vectors.rows[point].astype(np.float64)
        found.append(total)
    return found[: len(WEIGHTS)], found[len(WEIGHTS) :]


def dense(made, queried, row):
    """At a step: means, the signal's covariance over (run, test example), and the noise; variances as in the model."""
    members = np.flatnonzero(np.isfinite(made.even[:, row]).all(axis=1))
    curricula = made.recorded.curricula
    ours, expected = states(made, Curricula(curricula.batches[members], curricula.learning_rates[members]), row)
    theirs, queried_expected = states(made, queried, row)
    step, posterior = made.solved[row]
    count, hyper = len(members), made.hyper
    together = [np.concatenate([one, other]) for one, other in zip(ours, theirs, strict=True)]
    parts = zip(hyper.weights, step.units, together, strict=True)
    kernel = sum(w / u * one @ one.T for w, u, one in parts)
    kernel = posterior.strength * kernel
    squares = ((together[0][:, None] - together[0][None]) ** 2).sum(axis=2)
    common = ((ours[0] - ours[0].mean(axis=0)) ** 2).sum() / (count - 1)
    shared = hyper.lack * np.exp(-squares / (4 * NEAR * common))
    values, vectors = np.linalg.eigh(made.kernel.cosines)
    raised = np.maximum(values, 0) ** hyper.power
    alike = vectors @ np.diag(raised * TEST / raised.sum()) @ vectors.T
    between = hyper.similarity_share * alike + (1 - hyper.similarity_share) * np.eye(TEST)
    noise = (1 - hyper.shared) * np.eye(TEST) + hyper.shared * between
    basis = np.kron(contrasts(count), np.eye(TEST))
    full = np.kron(kernel[:count, :count], between)
    full += np.kron((1 - hyper.lack) * np.eye(count) + shared[:count, :count], noise)
    inverse = basis @ np.linalg.inv(basis.T @ full @ basis) @ basis.T
    slope = made.slopes[row]
    means = [
        sum(s * one for s, one in zip(hyper.scales, prior, strict=True)) * slope
        for prior in (expected, queried_expected)
    ]
    even = made.even[members, row]
    left = (even - even.mean(axis=0) - means[0] + means[0].mean(axis=0)) / step.size
    # Covariances of what asked runs have beyond the mean of the fitted ones.
    apart = np.concatenate([-np.ones((len(theirs[0]), count)) / count, np.eye(len(theirs[0]))], axis=1)
    cross = np.kron((apart @ kernel)[:, :count], between) + np.kron((apart @ shared)[:, :count], noise)
    mean = (cross @ inverse @ left.ravel()).reshape(-1, TEST) * step.size + means[1] - means[0].mean(axis=0)
    covariance = (
        np.kron(apart @ kernel @ apart.T, between)
        + np.kron(apart @ shared @ apart.T, noise)
        - cross @ inverse @ cross.T
    )
    units = np.tile(step.size, len(theirs[0]))
    covariance = posterior.variance * covariance * units[:, None] * units
    alone = posterior.variance * step.size**2 * noise.diagonal() * (1 - hyper.lack) * (1 + 1 / count)
    return even.mean(axis=0) + mean, covariance, alone


@pytest.mark.parametrize("name", ["identity", "log"])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("lack", [None, 0.8])
@pytest.mark.parametrize("power", [1.0, 1.6])
def test_predictions_are_those_of_the_dense_process(name, ended, lack, power):
    made = model(link=Link(name, 0.0), ended=ended, lack=lack, powers=(power, 0.5))
    random = np.random.default_rng(9)
    queried = Curricula(random.integers(-1, POOL, size=(3, STEPS, 2)), random.uniform(size=(3, STEPS)))
    # One of them is a run that was fitted: what near runs share is known of it.
    queried.batches[0], queried.learning_rates[0] = (
        made.recorded.curricula.batches[1],
        made.recorded.curricula.learning_rates[1],
    )
    seen = np.arange(TEST)
    look = made.look(queried, 3, RequestedRuns(seen, np.broadcast_to(made.centre, (3, 3, TEST))))
    for row in (1, 2):
        mean, covariance, noise = dense(made, queried, row)
        np.testing.assert_allclose(look.mean[:, row], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(look.signal[:, row].ravel(), covariance.diagonal(), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(look.noise[:, row], np.repeat(noise[None], 3, axis=0))
        assert (look.open[:, row] <= look.prior[:, row] * (1 + 1e-9)).all()
        assert (look.open[1:, row] < look.signal[1:, row]).all() == (lack is not None)


def test_a_test_example_that_was_not_fitted_is_as_sure_as_its_twin_but_for_what_is_its_own():
    """Its vector is one of those fitted; without effects that single test examples have, the two are one."""
    made = model(powers=(1.6, 0.5))
    made.hyper = replace(made.hyper, similarity_share=1 - 1e-8, shared=1 - 1e-8)
    made.__dict__.pop("solved", None)
    random = np.random.default_rng(4)
    queried = Curricula(random.integers(-1, POOL, size=(3, STEPS, 2)), random.uniform(size=(3, STEPS)))
    centre = np.broadcast_to(made.centre[:, :1], (3, 3, 1))
    everyone = np.broadcast_to(made.centre, (3, 3, TEST))
    fitted = made.look(queried, 3, RequestedRuns(np.arange(TEST), everyone))
    alike = {
        "vectors": made.test_vectors[:1], "gradients": {name: one.test[:1] for name, one in made.sources.sets.items()}
    }  # fmt: skip
    other = made.look(queried, 3, RequestedRuns(np.array([-1]), centre, **alike))
    for row in (1, 2):
        step = made.solved[row][0]
        # A size that is only expected is another than that found.
        expected = step.reference * (made.kernel.sizes[0] * made.slopes[row, 0]) ** 0.5
        times = (expected / step.size[0]) ** 2
        np.testing.assert_allclose(other.signal[:, row, 0], fitted.signal[:, row, 0] * times, rtol=1e-6)
        np.testing.assert_allclose(other.prior[:, row, 0], fitted.prior[:, row, 0] * times, rtol=1e-6)
        np.testing.assert_allclose(other.noise[:, row, 0], fitted.noise[:, row, 0] * times, rtol=1e-6)


def test_runs_that_repeat_others_share_what_is_linear_in_nothing():
    """With repeats in the fit, what a subset does beyond the sum of its examples is told from noise."""
    random = np.random.default_rng(3)
    errors = {}
    for repeated in (1, 3):
        found = []
        for _ in range(4):
            subsets = random.permutation(list(combinations(range(12), 4)))[:10]
            orders = [random.permuted(np.tile(one, (6, 1)), axis=1).ravel() for _ in range(repeated) for one in subsets]
            batches = np.stack(orders)[:, :, None]
            lines, bends = random.normal(size=(12, 6)), random.normal(size=(10, 6))
            whole = np.stack([lines[one].sum(axis=0) for one in subsets]) + 2.0 * bends
            values = np.zeros((len(batches), 2, 6))
            values[:, 1] = np.tile(whole, (repeated, 1)) + 0.3 * random.normal(size=(len(batches), 6))
            runs = Curricula(batches, np.ones(batches.shape[:2]))
            made = ExposureModel(RecordedRuns(runs, np.array([0, 24]), values, 12), Sources({}), Link("identity"))
            assert made.lack == (repeated > 1)
            queried = RequestedRuns(np.arange(6), np.broadcast_to(made.centre, (10, 2, 6)))
            look = made.look(Curricula(batches[:10], np.ones((10, 24))), 2, queried)
            found.append(np.square(look.mean[:, 1] - whole).mean())
        errors[repeated] = np.mean(found)
    assert errors[3] < 0.09
    assert errors[3] < errors[1]


@pytest.mark.parametrize("unit", [1.0, 50.0])
def test_scales_are_compared_in_the_metrics_units(unit):
    """The scale on which effects add up has the better evidence, in whatever units the metric is told."""
    random = np.random.default_rng(4)
    runs = Curricula(random.integers(0, 30, size=(20, 8, 2)), np.ones((20, 8)))
    line = exposures(runs.batches, runs.learning_rates, RECORDED, 30) @ random.normal(size=(30, 12))
    for values, best in ((20 + 0.4 * line, "identity"), (np.exp(0.4 * line), "log")):
        evidence = {
            name: ExposureModel(RecordedRuns(runs, RECORDED, unit * values, 30), Sources({}), Link(name)).evidence
            for name in ("identity", "log")
        }
        assert min(evidence, key=lambda name: evidence[name]) == best
