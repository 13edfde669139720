"""exposure-gp fitted to one run, against plain loops."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gptfl.core import Curriculum, Features, FeatureSet, FitData, MetricInfo, Query, Run, examples_fingerprint
from gptfl.core.curriculum import fill_batches, generator, linear_decay, recorded_steps
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.single_fit import FittedSingleRun
from gptfl.testing.synthetic import make_examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
POOL, TEST, BATCH, STEPS = 20, 5, 2, 40
SCALE = 0.6


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = generator(seed, 3)
    return random.normal(size=(POOL, 4)) + 0.5, random.normal(size=(TEST, 4)) + 0.5


def run_of(batches: np.ndarray, rates: np.ndarray, effects: np.ndarray, every: int = 1) -> Run:
    """A run whose losses move by effects times exposures and nothing else."""
    grid = recorded_steps(len(rates), every)
    seen = np.zeros((len(rates) + 1, POOL))
    for step, batch in enumerate(batches):
        seen[step + 1] = seen[step]
        for example in batch[batch >= 0]:
            seen[step + 1, example] += rates[step] / (batch >= 0).sum()
    return Run(0, 1, "fit", Curriculum(batches, rates), grid, {"loss": 4.0 + seen[grid] @ effects})


def data_of(run: Run, metric: MetricInfo = LOSS, kind: str = "gradient") -> FitData:
    train, test = vectors()
    named = make_examples(POOL, "pool"), make_examples(TEST, "test")
    sets = {"raw-0": FeatureSet(train.astype(np.float32), test.astype(np.float32), kind)}
    return FitData(*named, metric, (run,), features=Features("made-up", {}, examples_fingerprint(*named), sets))


@pytest.fixture(scope="module")
def exact() -> tuple[FitData, np.ndarray]:
    """One run of just what gradients predict, times ``SCALE``, and the effects."""
    train, test = vectors()
    effects = -SCALE * train @ test.T
    batches = fill_batches(np.arange(POOL), BATCH, STEPS, 7)
    return data_of(run_of(batches, linear_decay(0.05, STEPS), effects)), effects


@pytest.fixture(scope="module")
def fitted(exact: tuple[FitData, np.ndarray]) -> ExposureGp:
    return ExposureGp().fit(exact[0])


def single(estimator: ExposureGp) -> FittedSingleRun:
    assert estimator.single_ is not None
    return estimator.single_


def query_of(run: Run, batches: np.ndarray) -> Query:
    rates = run.curriculum.learning_rates
    return Query(
        batches, np.tile(rates, (len(batches), 1)), run.steps, np.tile(run.metrics["loss"][0], (len(batches), 1))
    )


def test_the_scale_is_that_of_the_runs_own_steps(fitted: ExposureGp) -> None:
    scale_fit = single(fitted).single.scale_fit
    assert scale_fit.scale == pytest.approx(SCALE, rel=1e-3)
    assert np.sqrt(scale_fit.doubt) < 0.01 * SCALE


def test_influence_is_the_scaled_product_less_the_average(
    exact: tuple[FitData, np.ndarray], fitted: ExposureGp
) -> None:
    data, effects = exact
    rates = data.fit_runs[0].curriculum.learning_rates
    given = {"raw-0": data.features.sets["raw-0"].train} if data.features else {}
    weights = np.eye(TEST)
    mean, spread = fitted.influence_of(np.arange(POOL), given, weights)
    rate = rates.mean() / BATCH
    np.testing.assert_allclose(mean, -rate * (effects - effects.mean(axis=0)), rtol=0.01, atol=1e-6)
    assert (spread > 0.2 * np.abs(mean)).all()


def test_another_run_departs_by_what_it_saw(exact: tuple[FitData, np.ndarray], fitted: ExposureGp) -> None:
    data, effects = exact
    (run,) = data.fit_runs
    others = np.stack([run.curriculum.batches, fill_batches(np.arange(6), BATCH, STEPS, 3)])
    found = fitted.predict(query_of(run, others))
    np.testing.assert_allclose(found.values[0], run.metrics["loss"], rtol=1e-6)
    truth = run_of(others[1], run.curriculum.learning_rates, effects).metrics["loss"]
    np.testing.assert_allclose(found.values[1], np.maximum(truth, 0.0), rtol=0.01, atol=0.01)
    low, high = found.intervals[0.9]
    assert ((low <= found.values) & (found.values <= high)).all()
    assert (high - low)[1, -1].min() > (high - low)[0, -1].max()
    assert found.novelty is not None
    np.testing.assert_array_equal(found.novelty, 1.0)


def test_what_was_learned_comes_back(exact: tuple[FitData, np.ndarray], fitted: ExposureGp) -> None:
    (run,) = exact[0].fit_runs
    again = ExposureGp().restore({name: np.array(array) for name, array in fitted.state().items()})
    query = query_of(run, fill_batches(np.arange(6), BATCH, STEPS, 3)[None])
    one, other = fitted.predict(query), again.predict(query)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.intervals[0.9][0], other.intervals[0.9][0])
    np.testing.assert_array_equal(fitted.self_influence(), again.self_influence())
    assert again.has_self_influence


@pytest.mark.parametrize("name", ["batches", "now", "end_points", "told", "alike", "steps", "values"])
def test_arrays_that_are_none_of_a_run_are_refused(fitted: ExposureGp, name: str) -> None:
    state = {key: np.array(array) for key, array in fitted.state().items()}
    for broken in (state[f"single:{name}"][..., :0], None):
        changed = (
            {**state, f"single:{name}": broken}
            if broken is not None
            else {key: array for key, array in state.items() if key != f"single:{name}"}
        )
        with pytest.raises(DataError, match="its arrays are missing or ill-shaped"):
            ExposureGp().restore(changed)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "embedding"}, "without gradients it tells nothing of single examples"),
        ({"metric": MetricInfo("accuracy", True, 0.0, 1.0)}, "gradients are of the loss alone, not of accuracy"),
    ],
)
def test_one_run_needs_gradients_and_the_loss(
    exact: tuple[FitData, np.ndarray], change: dict[str, Any], message: str
) -> None:
    (run,) = exact[0].fit_runs
    run = replace(run, metrics={**run.metrics, "accuracy": run.metrics["loss"]})
    with pytest.raises(DataError, match=message):
        ExposureGp().fit(data_of(run, **change))


def test_what_one_run_cannot_tell_is_refused(exact: tuple[FitData, np.ndarray], fitted: ExposureGp) -> None:
    (run,) = exact[0].fit_runs
    query = query_of(run, run.curriculum.batches[None])
    observed = np.full((1, len(run.steps), TEST), np.nan)
    for question, message in (
        (replace(query, observed=observed), "can't go on from what was observed"),
        (replace(query, learning_rates=0.5 * query.learning_rates), "knows the step sizes of that run alone"),
    ):
        with pytest.raises(DataError, match=message):
            fitted.predict(question)
    with pytest.raises(DataError, match="knows that run's examples alone"):
        fitted.influence_of(np.array([-1]), {}, np.eye(TEST))
