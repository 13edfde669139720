"""Predictions and influences against the dense Gaussian process over the states of runs."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from gptfl.core.links import Link
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.inference import contrasts
from gptfl.estimators.exposure_gp.influence import influence
from gptfl.estimators.exposure_gp.inputs import Sides, Sources
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import RECENT, Curricula, Hyper
from gptfl.estimators.exposure_gp.repeats import NEAR
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns
from gptfl.estimators.exposures import exposures

RUNS, POOL, TEST, STEPS = 7, 6, 4, 8
RECORDED = np.array([0, 3, 8])
POINTS = (0, 5)
WEIGHTS = np.array([0.4, 1.5, 0.7, 0.3, 0.9])


def model(hyper=True, link=None, seed=0, ended=False, runs=RUNS, lack=None):
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
    given = Hyper(WEIGHTS, 0.6, 0.8, scales, np.linspace(0.5, 1.5, TEST), lack or 0.0) if hyper else None
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
    between = hyper.similarity_share * made.kernel.cosines + (1 - hyper.similarity_share) * np.eye(TEST)
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
    return even.mean(axis=0) + mean, covariance, posterior.variance * step.size**2 * (1 - hyper.lack) * (1 + 1 / count)


@pytest.mark.parametrize("name", ["identity", "log"])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("lack", [None, 0.8])
def test_predictions_are_those_of_the_dense_process(name, ended, lack):
    made = model(link=Link(name, 0.0), ended=ended, lack=lack)
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


def spread_out(made, count):
    """For each of so many examples a run that sees it once in all, at the step sizes of the fitted runs, in parts.

    All is linear in what a run sees, so that differences of these are differences between any runs.
    """
    rates = made.recorded.curricula.learning_rates
    taken = (made.recorded.curricula.batches >= 0).any(axis=2)
    share = rates.mean(axis=0) / rates.mean(axis=0).sum() * made.recorded.curricula.weights[taken].mean()
    batches = np.repeat(np.arange(count)[:, None], STEPS, axis=1)[:, :, None]
    return batches, np.tile(share, (count, 1))


@pytest.mark.parametrize("ended", [False, True])
def test_influence_is_the_difference_that_seeing_an_example_once_more_makes(ended):
    made = model(ended=ended)
    singles = Curricula(*spread_out(made, POOL))
    mean, covariance, _ = dense(made, singles, 2)
    random = np.random.default_rng(3)
    weights = random.normal(size=(2, TEST))
    train = {name: one.train for name, one in made.sources.sets.items()}
    found, spread = influence(made, np.arange(POOL), train, weights)
    # Each less the average example: a mean over the single ones, since all is linear.
    apart = np.eye(POOL) - 1.0 / POOL
    np.testing.assert_allclose(found, apart @ mean @ weights.T, rtol=1e-5, atol=1e-7)
    for target in range(2):
        mixing = np.kron(apart, weights[target][None])
        variance = (mixing @ covariance @ mixing.T).diagonal()
        np.testing.assert_allclose(spread[:, target], made.interval_scale * np.sqrt(variance), rtol=1e-4)


def test_influence_agrees_with_looking_at_the_runs():
    made = model()
    seen = np.arange(TEST)
    runs = Curricula(*spread_out(made, POOL))
    look = made.look(runs, 3, RequestedRuns(seen, np.broadcast_to(made.centre, (POOL, 3, TEST))))
    train = {name: one.train for name, one in made.sources.sets.items()}
    found, _ = influence(made, np.arange(POOL), train, np.eye(TEST))
    np.testing.assert_allclose(found, look.mean[:, -1] - look.mean[:, -1].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_the_twin_of_an_example_shares_its_vectors_effects_but_not_its_own():
    made = model()
    train = {name: one.train[[2, 2]] for name, one in made.sources.sets.items()}
    places, seen = np.array([2, -1]), np.arange(TEST)
    found, spread = influence(made, places, train, np.eye(TEST))
    assert not np.allclose(found[0], found[1])
    assert (spread[1] > spread[0]).all()
    # The twin among the fitted ones: a run of its own, beside those of the fitted.
    batches, rates = spread_out(made, POOL + 1)
    vectors = {name: np.concatenate([one.train, one.train[[2]]]) for name, one in made.sources.sets.items()}
    look = made.look(
        Curricula(batches, rates),
        3,
        RequestedRuns(seen, np.broadcast_to(made.centre, (POOL + 1, 3, TEST))),
        np.arange(POOL + 1),
        vectors,
    )
    expected = look.mean[-1, -1] - look.mean[:POOL, -1].mean(axis=0)
    np.testing.assert_allclose(found[1], expected, rtol=1e-5, atol=1e-7)
    # Without own effects, there is nothing between the two.
    shared = ExposureModel(
        made.recorded, made.sources, made.link, replace(made.hyper, weights=np.append(1e-9, WEIGHTS[1:]))
    )
    one, other = influence(shared, places, train, np.eye(TEST))[0]
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_influence_is_reported_in_the_metrics_units_on_any_scale():
    made = model(link=Link("log", 0.0))
    train = {name: one.train for name, one in made.sources.sets.items()}
    found, _ = influence(made, np.arange(POOL), train, np.eye(TEST))
    singles = Curricula(*spread_out(made, POOL))
    mean = dense(made, singles, 2)[0]
    expected = (mean - mean.mean(axis=0)) / made.slopes[2]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_influence_of_examples_in_parts_is_that_of_all_together():
    made = model()
    train = {name: one.train for name, one in made.sources.sets.items()}
    whole = influence(made, np.arange(POOL), train, np.eye(TEST))
    part = influence(made, np.array([1, 4]), {name: rows[[1, 4]] for name, rows in train.items()}, np.eye(TEST))
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(one[[1, 4]], other, rtol=1e-9)


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
