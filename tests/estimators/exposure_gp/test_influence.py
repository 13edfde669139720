"""Seeing an example once more, against the difference that it makes."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.links import Link
from gptfl.estimators.exposure_gp.influence import influence
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.requests import RequestedRuns
from tests.estimators.exposure_gp.test_model import POOL, STEPS, TEST, WEIGHTS, dense, model


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
