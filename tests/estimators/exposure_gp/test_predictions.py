"""What is predicted of unseen examples, after observed scores, and within the range of the metric."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import (
    Curriculum,
    Features,
    FeatureSet,
    Unseen,
    examples_fingerprint,
)
from gptfl.errors import DataError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from tests.estimators.exposure_gp.worlds import (
    ACCURACY,
    BLEU,
    LOSS,
    POOL,
    RECORDED,
    STEPS,
    TEST,
    about,
    begun,
    covered,
    of_first,
    question,
    recorded,
    skill,
    world,
)
from tests.synthetic import examples


def test_novelty_is_small_for_what_was_seen_and_large_for_what_is_unlike_it():
    data, runs = world(noise=0.005, kind="embedding", own=0.0)
    fitted = ExposureGp().fit(data)
    again = fitted.predict(question(data.fit_runs)).novelty
    assert (again < 0.1).all()
    # Eight more examples whose vectors are orthogonal to all others', and longer.
    text = data.features.sets["text"]
    strangers = np.random.default_rng(1).normal(size=(8, 4))
    train = np.block([[text.train, np.zeros((POOL, 4))], [np.zeros((8, 4)), 3 * strangers]])
    wide = {"text": FeatureSet(train, np.concatenate([text.test, 0 * text.test], axis=1))}
    given = (*data.pool, *examples("new", 8, 2)), data.test
    features = Features("synthetic", {}, examples_fingerprint(*given), wide)
    known = {"text": FeatureSet(wide["text"].train[:POOL], wide["text"].test)}
    fitted = ExposureGp().fit(replace(data, features=replace(features, sets=known)))
    query = question(runs)
    seen = np.where(np.arange(POOL + 8) < POOL, np.arange(POOL + 8), -1)
    strange = replace(
        query,
        batches=POOL + query.batches % 8,
        unseen=Unseen(*given, seen, np.arange(TEST), features),
    )
    assert (fitted.predict(strange).novelty > 0.7).all()
    familiar = fitted.predict(replace(query, unseen=strange.unseen)).novelty
    assert (familiar < 0.5).all()


def test_unseen_training_examples_are_known_by_their_vectors():
    data, runs = world(runs=24, queried=12, own=0.0)
    # The last quarter of the pool is in no run to fit.
    kept = 3 * POOL // 4
    fit_runs = tuple(run for run in data.fit_runs)
    truncated = []
    for run in fit_runs:
        batches = np.where(run.curriculum.batches >= kept, -1, run.curriculum.batches)
        rates = run.curriculum.learning_rates
        whole, left = (
            exposures(one[None], rates[None], RECORDED, POOL)[0] for one in (run.curriculum.batches, batches)
        )
        train, test = data.features.sets["raw-0"].train, data.features.sets["raw-0"].test
        line = 2 * np.log(run.metrics["loss"])
        line += 2 * ((left - whole) / rates.sum()) @ (-train @ test.T / 2)
        truncated.append(replace(run, curriculum=Curriculum(batches, rates), metrics={"loss": np.exp(line / 2)}))
    fitted = ExposureGp().fit(of_first(replace(data, fit_runs=tuple(truncated)), pool=kept))
    query = about(question(runs), data, pool=kept)
    values, truth = fitted.predict(query).values, recorded(runs)
    plain = fitted.predict(replace(query, batches=np.where(query.batches >= kept, -1, query.batches))).values
    assert skill(values, truth, plain) > 0.5
    assert skill(values, truth, np.broadcast_to(truth.mean(axis=0), truth.shape)) > 0.5


def test_unseen_test_examples_change_as_alike_ones_do():
    data, runs = world(test=30, own=0.0)
    fitted = ExposureGp().fit(of_first(data, tests=20))
    values = fitted.predict(about(question(runs), data, tests=20)).values
    truth = recorded(runs)
    mean = MeanRun().fit(of_first(data, tests=20)).predict(about(question(runs), data, tests=20)).values
    assert skill(values[:, :, 20:], truth[:, :, 20:], mean[:, :, 20:]) > 0.5


def test_other_runs_in_the_question_change_nothing_for_unseen_test_examples():
    data, runs = world(test=12)
    fitted = ExposureGp().fit(of_first(data, tests=8))
    query = about(question(runs), data, tests=8)
    query = replace(query, first=query.first * np.linspace(0.5, 1.5, len(runs))[:, None])
    together = fitted.predict(query)
    for run in range(len(runs)):
        part = {name: getattr(query, name)[[run]] for name in ("batches", "learning_rates", "first")}
        alone = fitted.predict(replace(query, **part))
        np.testing.assert_allclose(alone.values[0], together.values[run], rtol=1e-9)
        np.testing.assert_allclose(alone.intervals[0.9][1][0], together.intervals[0.9][1][run], rtol=1e-9)


def test_observed_scores_are_met_and_what_follows_moves_towards_them():
    data, runs = world(noise=0.0)
    rows = np.arange(0, STEPS + 1)
    query = replace(question(runs), steps=rows)
    fitted = ExposureGp().fit(data)
    before = fitted.predict(query)
    observed = np.full(before.values.shape, np.nan)
    observed[0, 8] = before.values[0, 8] * 1.2
    after = fitted.predict(replace(query, observed=observed))
    np.testing.assert_allclose(after.values[0, 8], observed[0, 8], rtol=0.01)
    for row in (7, 9, 12):
        assert (after.values[0, row] > before.values[0, row]).all()
    widths = [(one.intervals[0.9][1] - one.intervals[0.9][0])[0] for one in (before, after)]
    assert (widths[1][8] < 0.1 * widths[0][8]).all()
    np.testing.assert_allclose(after.values[1:], before.values[1:], rtol=1e-12)


def test_a_runs_own_first_score_is_learned_from_where_runs_differ_in_it():
    data, runs = world(runs=16, queried=20)
    random = np.random.default_rng(2)

    def late(run):
        """As imports are: without the score before any update, and with what only this run does, from the start."""
        own = np.exp(0.3 * random.normal(size=TEST))
        return replace(begun(run, 1), metrics={"loss": run.metrics["loss"][1:] * own})

    given, queried = replace(data, fit_runs=tuple(map(late, data.fit_runs))), [late(run) for run in runs]
    fitted = ExposureGp().fit(given)
    state = {name: array for name, array in fitted.state().items() if name != "rules"}
    before = ExposureGp().restore(state)
    query, truth = question(queried), recorded(queried)
    ours, theirs = fitted.predict(query), before.predict(query)
    assert np.square(ours.values - truth)[:, 1:].sum() < 0.5 * np.square(theirs.values - truth)[:, 1:].sum()
    assert 0.8 < covered(ours, truth, 0.9) < 0.98
    # One run's first score says nothing of another run.
    alone = fitted.predict(replace(query, first=np.concatenate([query.first[:1], 2 * query.first[1:]])))
    np.testing.assert_array_equal(alone.values[0], ours.values[0])


def test_the_first_score_that_all_runs_have_in_common_says_nothing():
    data, runs = world()
    fitted = ExposureGp().fit(data)
    query = question(runs)
    one, other = (fitted.predict(replace(query, first=first)).values for first in (query.first, query.first + 0.5))
    np.testing.assert_array_equal(one[:, 1:], other[:, 1:])


def test_observing_half_of_a_run_helps_with_the_other_half():
    data, runs = world(runs=6, queried=12)
    query, truth = question(runs), recorded(runs)
    observed = truth.copy()
    observed[:, 0] = observed[:, 4:] = np.nan
    fitted = ExposureGp(features=False).fit(data)
    before, after = fitted.predict(query).values, fitted.predict(replace(query, observed=observed)).values
    assert np.square(after - truth)[:, 4:].sum() < 0.8 * np.square(before - truth)[:, 4:].sum()


@pytest.mark.parametrize("metric", [LOSS, ACCURACY, BLEU], ids=lambda metric: metric.name)
@pytest.mark.parametrize("link", ["auto", "identity"])
def test_everything_stays_within_the_range_of_the_metric(metric, link):
    data, runs = world(runs=3, metric=metric, noise=2.0)
    steep = tuple(
        replace(run, metrics={metric.name: np.clip(3 * run.metrics[metric.name], metric.low, metric.high)})
        for run in data.fit_runs
    )
    predicted = ExposureGp(link=link).fit(replace(data, fit_runs=steep)).predict(question(runs, metric.name))
    for values in (predicted.values, *predicted.intervals[0.5], *predicted.intervals[0.9]):
        assert np.isfinite(values).all()
        assert (values >= metric.low).all()
        assert (values <= metric.high).all()
    (wide_low, wide_high), (low, high) = predicted.intervals[0.9], predicted.intervals[0.5]
    assert (wide_low <= low).all()
    assert (low <= high).all()
    assert (high <= wide_high).all()


def test_values_at_their_bounds_stay_on_their_own_scale():
    data, _ = world(metric=ACCURACY)
    whole = tuple(replace(run, metrics={"accuracy": np.round(run.metrics["accuracy"])}) for run in data.fit_runs)
    assert ExposureGp().fit(replace(data, fit_runs=whole)).model_.link.name == "identity"
    with pytest.raises(DataError, match="link 'logit' doesn't suit accuracy as recorded: use identity, or auto"):
        ExposureGp(link="logit").fit(replace(data, fit_runs=whole))
    with pytest.raises(DataError, match="link 'log' doesn't suit accuracy as recorded: use identity, logit, or auto"):
        ExposureGp(link="log").fit(data)
