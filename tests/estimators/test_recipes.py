"""Runs of other batches and step sizes than recorded: what a mean over the batch and accumulated step size make equal."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Curriculum, Features, FeatureSet, FitData, MetricInfo, Query, Run, examples_fingerprint
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from gptfl.errors import DataError
from gptfl.estimators import average
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from gptfl.plugins.registry import get_registry
from tests.synthetic import examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
POOL, TEST, STEPS, BATCH = 18, 5, 12, 3
GRID = np.arange(0, STEPS + 1, 3)
RATES = linear_decay(1.0, STEPS)
RANDOM = np.random.default_rng(0)
TRAIN, TESTS = RANDOM.normal(size=(POOL, 3)), RANDOM.normal(size=(TEST, 3))
FIRST = RANDOM.uniform(2.5, 4.0, size=TEST)


def truth(batches, rates, steps):
    """Losses that fall with accumulated step size, and move with exposures by products of gradients."""
    seen = exposures(batches, rates, steps, POOL)
    passed = seen.sum(axis=2, keepdims=True)
    return FIRST * np.exp(-0.15 * passed) + 0.1 * seen @ -(TRAIN @ TESTS.T)


def data(runs=8, noise=0.01, ragged=False):
    made = []
    for index in range(runs):
        key = run_seed(3, index)
        batches = fill_batches(draw_subset(POOL, 6, key), BATCH, STEPS, key)
        if ragged:
            batches[index % 4 :: 4, -1] = -1
        values = truth(batches[None], RATES[None], GRID)[0]
        values[1:] += noise * RANDOM.normal(size=values[1:].shape)
        made.append(Run(index, key, "fit", Curriculum(batches, RATES), GRID, {"loss": values}))
    named = examples("train", POOL, 2), examples("test", TEST, 2)
    sets = {"raw-0": FeatureSet(TRAIN.astype(np.float32), TESTS.astype(np.float32), "gradient")}
    return FitData(*named, LOSS, tuple(made), features=Features("f", {}, examples_fingerprint(*named), sets))


DATA, RAGGED = data(), data(ragged=True)
GP, MEAN = ExposureGp(link="identity").fit(DATA), MeanRun().fit(DATA)


def query_of(rates=RATES, batch=BATCH, seed=50, steps=None, runs=3):
    rates = np.asarray(rates, dtype=float)
    batches = np.stack(
        [
            fill_batches(draw_subset(POOL, 6, run_seed(seed, run)), batch, len(rates), run_seed(seed, run))
            for run in range(runs)
        ]
    )
    steps = np.unique(np.append(np.arange(0, len(rates), 3), len(rates))) if steps is None else steps
    return Query(batches, np.tile(rates, (runs, 1)), steps, np.tile(FIRST, (runs, 1)))


def skill(query, values):
    known = truth(query.batches, query.learning_rates, query.steps)
    mean = MEAN.predict(query).values
    return 1 - np.square(values - known)[:, 1:].sum() / np.square(mean - known)[:, 1:].sum()


def width(prediction):
    low, high = prediction.intervals[0.9]
    return (high - low)[:, -1].mean()


def wider(batches, how):
    if how == "twice over":
        return np.concatenate([batches, batches], axis=2)
    if how == "padded":
        return np.concatenate([batches[:, :, :1], np.full((*batches.shape[:2], 3), -1), batches[:, :, 1:]], axis=2)
    return np.concatenate([batches[:, :, ::-1], np.full((*batches.shape[:2], 1), -1), batches, batches], axis=2)


NAMES = {
    "mean-run": {},
    "class-share": {},
    "exposure-gp": {},
    "exposure-gp without prior": {"prior": False},
    "gptfluence": {"epochs": 5},
    "gptfluence by step size": {"epochs": 5, "step_size": True},
    "gptfluence anchored": {"epochs": 5, "anchored": True, "around": "mean-run"},
}


@pytest.mark.parametrize("recorded", [DATA, RAGGED], ids=["one size", "ragged"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_the_mean_over_its_examples_however_it_is_written(name, recorded):
    fitted = get_registry().make("estimator", name.split()[0], **NAMES[name]).fit(recorded)
    query = query_of()
    query.batches[:, ::2, -1] = -1
    plain = fitted.predict(query)
    for how in ("twice over", "padded", "thrice, turned round"):
        again = fitted.predict(replace(query, batches=wider(query.batches, how)))
        np.testing.assert_allclose(again.values, plain.values, rtol=1e-4)
        for level, bounds in plain.intervals.items():
            np.testing.assert_allclose(again.intervals[level], bounds, rtol=1e-4)
        if plain.novelty is not None:
            np.testing.assert_allclose(again.novelty, plain.novelty, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 6, 9])
def test_other_batch_sizes_are_predicted_as_well_and_less_surely(batch):
    query, usual = query_of(batch=batch, runs=6), query_of(runs=6)
    found, known = GP.predict(query), GP.predict(usual)
    assert skill(query, found.values) > 0.8
    assert skill(usual, known.values) > 0.8
    batches = query.batches[:, :, :1]
    one, other = (GP.predict(replace(query, batches=np.tile(batches, (1, 1, n)))) for n in (1, batch))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-4)  # vectors are summed in single precision
    assert width(found) > width(known)


OTHER = {
    "a third": RATES / 3,
    "a tenth": RATES / 10,
    "faster, shorter": linear_decay(2.5, 4),
    "constant": np.full(STEPS, 0.5),
    "more and smaller steps": linear_decay(0.5, 24),
    "warm-up": np.r_[0.0, 0.0, 0.3, np.full(9, 0.6)],
}


@pytest.mark.parametrize("rates", OTHER.values(), ids=OTHER)
@pytest.mark.parametrize("estimator", [GP, ClassShare().fit(DATA), MEAN], ids=lambda one: one.name)
def test_the_average_run_is_taken_where_step_sizes_add_up_to_as_much(rates, estimator):
    query = query_of(rates, runs=6)
    values = estimator.predict(query).values
    known = truth(query.batches, query.learning_rates, query.steps)
    by_steps = average.interpolate(GRID, MEAN.mean_, np.minimum(query.steps, STEPS))
    assert np.square(values - known).sum() < 0.5 * np.square(by_steps - known).sum()
    if estimator is GP:
        assert skill(query, values) > 0.3
        low, high = estimator.predict(query).intervals[0.9]
        assert ((known >= low) & (known <= high))[:, 1:].mean() > 0.9


def test_without_any_step_nothing_changes():
    empty = np.full((3, STEPS, BATCH), -1)
    for estimator in (GP, MEAN, ClassShare().fit(DATA)):
        for query in (query_of(0 * RATES), replace(query_of(), batches=empty)):
            query.first[:] += 0.25
            found = estimator.predict(query)
            expected = np.repeat(query.first[:, None], len(query.steps), axis=1)
            np.testing.assert_array_equal(found.values, expected)
            for bounds in found.intervals.values():
                np.testing.assert_array_equal(bounds, [expected, expected])


@pytest.mark.parametrize("recipes", [[1.0, 0.8, 0.5, 0.25, 0.05], [1.0, 1.2, 1.5, 1.8]], ids=["slower", "faster"])
def test_novelty_rises_with_the_distance_to_recorded_step_sizes(recipes):
    steps = np.array([0, 4])
    found = [GP.predict(replace(query_of(steps=steps), learning_rates=np.tile(f * RATES, (3, 1)))) for f in recipes]
    for less, more in itertools.pairwise(found):
        # Near 1, where next to nothing is known, it rises no more.
        assert ((more.novelty > less.novelty) | (more.novelty > 0.99)).all()
        assert (more.novelty > found[0].novelty).all()


@pytest.mark.parametrize("recipe", [{"rates": 1.5 * RATES}, {"rates": linear_decay(1.0, 24)}, {"rates": 3 * RATES}])
def test_more_than_recorded_step_sizes_add_up_to_is_refused(recipe):
    for estimator in (GP, MEAN, ClassShare().fit(DATA)):
        with pytest.raises(
            DataError, match=r"step sizes add up to .* those of the recorded runs to at most 6.5, .*--lr"
        ):
            estimator.predict(query_of(**recipe))


def test_runs_of_several_recipes_are_answered_each_by_its_own():
    one, other = query_of(), query_of(RATES / 2, seed=60)
    both = replace(
        one,
        batches=np.concatenate([one.batches, other.batches]),
        learning_rates=np.concatenate([other.learning_rates, one.learning_rates])[[3, 0, 4, 1, 5, 2]],
        first=np.concatenate([one.first, other.first]),
    )
    for estimator in (GP, ClassShare().fit(DATA), MEAN):
        found = estimator.predict(both)
        for run in range(6):
            alone = replace(
                both, batches=both.batches[[run]], learning_rates=both.learning_rates[[run]], first=both.first[[run]]
            )
            single = estimator.predict(alone)
            np.testing.assert_allclose(found.values[run], single.values[0], rtol=1e-9)
            if found.novelty is not None:
                assert found.novelty[run] == pytest.approx(single.novelty[0])


def test_later_batches_change_no_earlier_prediction_at_other_step_sizes():
    query = query_of(RATES / 2)
    later = query.batches.copy()
    later[:, 6:] = (later[:, 6:] + 7) % POOL
    values, changed = (GP.predict(replace(query, batches=one)).values for one in (query.batches, later))
    np.testing.assert_allclose(values[:, query.steps <= 6], changed[:, query.steps <= 6], rtol=1e-12)
    assert np.abs(values[:, -1] - changed[:, -1]).max() > 1e-3


def test_almost_recorded_step_sizes_are_answered_almost_alike():
    query = query_of()
    close = replace(query, learning_rates=query.learning_rates * (1 - 1e-4))
    known, found = GP.predict(query), GP.predict(close)
    np.testing.assert_allclose(found.values, known.values, atol=2e-3)
    np.testing.assert_allclose(found.intervals[0.9], known.intervals[0.9], atol=5e-3)
    np.testing.assert_allclose(found.novelty, known.novelty, atol=5e-2)


def test_a_simulator_of_before_answers_as_it_did_and_other_batch_sizes_by_their_share():
    state = dict(GP.state())
    assert int(state.pop("per")) == 0
    # Exposures were as many times as large as batches have examples.
    old = ExposureGp(link="identity").restore({**state, "scales": state["scales"] / BATCH})
    for query in (query_of(), query_of(batch=6), query_of(RATES / 2)):
        found, known = old.predict(query), GP.predict(query)
        np.testing.assert_allclose(found.values, known.values, rtol=1e-9)
        np.testing.assert_allclose(found.novelty, known.novelty, rtol=1e-6)
    again = ExposureGp(link="identity").restore(old.state())
    np.testing.assert_array_equal(again.predict(query_of()).values, old.predict(query_of()).values)


def test_a_simulator_of_before_goes_on_counting_the_places_of_ragged_batches():
    state = dict(ExposureGp(link="identity").fit(RAGGED).state())
    state.pop("per")
    old = ExposureGp(link="identity").restore(state)
    assert int(old.state()["per"]) == BATCH
    query = query_of()
    half = replace(query, batches=np.where(np.arange(BATCH) < 1, query.batches, -1))
    third = replace(half, learning_rates=half.learning_rates / BATCH)
    # One place counts a third of a step size, whatever else is in the batch.
    runs = old.model_.recorded.curricula.like(half.batches, half.learning_rates)
    np.testing.assert_allclose(runs.lasting.weights, third.learning_rates)
    again = ExposureGp(link="identity").restore(old.state())
    np.testing.assert_array_equal(again.predict(half).values, old.predict(half).values)
    with pytest.raises(DataError, match="fewer than no examples"):
        ExposureGp(link="identity").restore({**state, "per": np.array(-1)})


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_a_floor_of_before_has_no_clock(estimator):
    fitted = estimator().fit(DATA)
    state = dict(fitted.state())
    old = estimator().restore({name: array for name, array in state.items() if name != "clock"})
    np.testing.assert_allclose(old.predict(query_of()).values, fitted.predict(query_of()).values, rtol=1e-12)
    half = query_of(RATES / 2)
    np.testing.assert_allclose(old.predict(half).values, old.predict(query_of()).values)
    assert "clock" not in old.state()
    with pytest.raises(DataError, match=r"'clock' is (damaged|missing)"):
        estimator().restore({**state, "clock": -state["clock"]})
