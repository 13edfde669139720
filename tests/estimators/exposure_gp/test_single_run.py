"""exposure-gp fitted_to_one to one run, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import FitData
from gptfl.core.curriculum import fill_batches, generator, linear_decay
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.single_run import OneRun, ScaleFit, SingleRun, UnitEffects, learn
from tests.estimators.exposure_gp.singles import (
    BATCH,
    POOL,
    SCALE,
    STEPS,
    TEST,
    data_of,
    run_of,
    single,
    vectors,
)


def test_the_scale_is_that_of_the_runs_own_steps(fitted_to_one: ExposureGp) -> None:
    scale_fit = single(fitted_to_one).single.scale_fit
    assert scale_fit.scale == pytest.approx(SCALE, rel=1e-3)
    assert np.sqrt(scale_fit.doubt) < 0.01 * SCALE


def test_influence_is_the_scaled_product_less_the_average(
    exact_run: tuple[FitData, np.ndarray], fitted_to_one: ExposureGp
) -> None:
    data, effects = exact_run
    rates = data.fit_runs[0].curriculum.learning_rates
    given = {"raw-0": data.features.sets["raw-0"].train} if data.features else {}
    weights = np.eye(TEST)
    mean, spread = fitted_to_one.influence_of(np.arange(POOL), given, weights)
    rate = rates.mean() / BATCH
    np.testing.assert_allclose(mean, -rate * (effects - effects.mean(axis=0)), rtol=0.01, atol=1e-6)
    assert (spread > 0.2 * np.abs(mean)).all()


def noisy(seed: int, own: float, noise: float, every: int) -> tuple[FitData, np.ndarray]:
    """One run whose examples also do what gradients don't predict, with noise that adds up."""
    random = generator(seed, 5)
    train, test = vectors()
    products = -train @ test.T
    effects = products + own * products.std(axis=0) * random.normal(size=products.shape)
    rates = linear_decay(0.05, STEPS)
    run = run_of(fill_batches(np.arange(POOL), BATCH, STEPS, seed), rates, effects, every)
    walk = np.cumsum(random.normal(size=run.metrics["loss"].shape) * np.sqrt(every), axis=0)
    return data_of(replace(run, metrics={"loss": run.metrics["loss"] + noise * 0.05 * walk})), effects


@pytest.mark.parametrize("every", [1, 4])
def test_intervals_hold_about_what_they_say(every: int) -> None:
    shares = []
    for own, noise in ((0.1, 0.05), (1.0, 0.05), (1.0, 0.5), (2.0, 0.1)):
        for seed in range(4):
            data, effects = noisy(seed, own, noise, every)
            rate = data.fit_runs[0].curriculum.learning_rates.mean() / BATCH
            truth = rate * (effects - effects.mean(axis=0))
            mean, spread = single(ExposureGp().fit(data)).influence(np.arange(POOL), np.eye(TEST))
            shares.append((np.abs(truth + mean) <= 1.645 * spread).mean())
    assert 0.85 < np.mean(shares) < 0.99


def test_a_run_that_moves_against_its_gradients_tells_nothing_of_examples() -> None:
    train, test = vectors()
    effects = train @ test.T
    data = data_of(run_of(fill_batches(np.arange(POOL), BATCH, STEPS, 7), linear_decay(0.05, STEPS), effects))
    found = ExposureGp().fit(data)
    mean, spread = single(found).influence(np.arange(POOL), np.eye(TEST))
    np.testing.assert_array_equal(mean, 0.0)
    assert (spread > 0.0).all()
    assert any("moved against what its gradients foretell" in note for note in found.notes_)


def test_of_a_run_intervals_are_what_was_seen_and_expected_between_recorded_steps() -> None:
    batches = np.array([[[0, 1], [1, -1], [2, 2], [0, 2]]])
    rates = np.array([[1.0, 0.5, 0.4, 0.2]])
    now = Vectors(np.array([0]), np.random.default_rng(0).normal(size=(1, 3, 2)))
    run = OneRun(Curricula(batches, rates), np.array([0, 2, 4]), np.zeros((3, 2)), 3)
    expected, seen, counts = run.intervals(now)
    np.testing.assert_allclose(seen, [[0.5, 1.0, 0.0], [0.1, 0.0, 0.5]])
    np.testing.assert_allclose(expected, seen @ now.rows[0])
    np.testing.assert_array_equal(counts, [2, 2])


def test_what_follows_first_order_exactly_has_its_scale_and_no_noise(exact_run: tuple[FitData, np.ndarray]) -> None:
    (run,) = exact_run[0].fit_runs
    train, test = vectors()
    unit = Vectors(np.array([0]), -(train @ test.T)[None])
    one = OneRun(
        Curricula(run.curriculum.batches[None], run.curriculum.learning_rates[None]),
        run.steps,
        run.metrics["loss"],
        POOL,
    )
    for times in (1.0, 3.0):
        found = learn(replace(one, values=times * one.values), UnitEffects(unit, unit, np.eye(TEST)))
        assert found.scale == pytest.approx(times * SCALE, rel=1e-3)
        assert found.noise < 1e-4 * found.scale**2
    known = SingleRun(one, UnitEffects(unit, unit, np.eye(TEST)), ScaleFit(SCALE, 0.0, 0.0, 0.0))
    mean, _ = known.departures(run.curriculum.batches[None], run.curriculum.learning_rates[None])
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
