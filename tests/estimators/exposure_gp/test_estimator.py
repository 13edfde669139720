from dataclasses import replace

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import (
    Features,
    Query,
)
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.worlds import (
    ACCURACY,
    BLEU,
    LOSS,
    POOL,
    STEPS,
    TEST,
    about,
    at,
    begun,
    blank,
    question,
    recorded,
    skill,
    with_set,
    world,
)

SETTINGS = {
    "default": {},
    "no prior": {"prior": False},
    "identity": {"link": "identity"},
    "log": {"link": "log"},
    "odds": {"link": "odds"},
    "no products": {"products": False},
    "no features": {"features": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_keeps_every_promise_of_an_estimator(settings):
    # Other settings are no other rows: they are checked on fewer.
    dynamics = testing.make_dynamics(every=4) if settings else None
    testing.check_estimator(ExposureGp, dynamics=dynamics, **settings)


@pytest.mark.parametrize("kind", ["gradient", "embedding"])
def test_keeps_every_promise_with_gradients_at_several_points(kind):
    def features(dynamics):
        one, other = (testing.make_features(dynamics, kind=kind, seed=seed).sets["text"] for seed in (1, 2))
        sets = {"raw-0": one, "raw-12": other, "preconditioned-6": one, "preconditioned-12": other}
        return Features("synthetic", {}, dynamics.examples, sets)

    testing.check_estimator(ExposureGp, dynamics=testing.make_dynamics(every=4), features=features)


@pytest.mark.parametrize("metric", [LOSS, ACCURACY, BLEU], ids=lambda metric: metric.name)
@pytest.mark.parametrize("settings", [{}, {"prior": False}], ids=["prior", "no prior"])
def test_linear_effects_are_predicted_far_better_than_without_them(metric, settings):
    data, runs = world(metric=metric)
    query, truth = question(runs, metric.name), recorded(runs, metric.name)
    ours = ExposureGp(**settings).fit(data).predict(query)
    mean, share = (one.fit(data).predict(query).values for one in (MeanRun(), ClassShare()))
    assert skill(ours.values, truth, mean) > 0.75
    assert skill(ours.values, truth, share) > 0.75


@pytest.mark.parametrize("metric", [LOSS, ACCURACY, BLEU], ids=lambda metric: metric.name)
def test_gradients_say_which_way_a_metric_moves(metric):
    """Of a loss downwards, of a metric of which more is better upwards."""
    data, runs = world(runs=3, queried=10, own=0.0, metric=metric)
    query, truth = question(runs, metric.name), recorded(runs, metric.name)
    fitted = ExposureGp().fit(data)
    assert fitted.model_.hyper.scales.max() > 0
    mean = MeanRun().fit(data).predict(query).values
    assert skill(fitted.predict(query).values, truth, mean) > 0.8


def test_effects_are_learned_without_features_from_more_runs():
    data, runs = world(runs=60)
    query = question(runs)
    values = ExposureGp(features=False).fit(data).predict(query).values
    assert skill(values, recorded(runs), MeanRun().fit(data).predict(query).values) > 0.6


def test_few_runs_are_enough_where_gradients_tell():
    data, queried = world(runs=3, queried=10, own=0.0)
    query = question(queried)
    values = ExposureGp().fit(data).predict(query).values
    assert skill(values, recorded(queried), MeanRun().fit(data).predict(query).values) > 0.8


def test_examples_that_no_run_drew_are_asked_about_without_features():
    data, runs = world(runs=3)
    drawn = np.unique(np.concatenate([run.curriculum.batches.ravel() for run in data.fit_runs]))
    fresh = int(np.setdiff1d(np.arange(POOL), drawn)[-1])
    query = question(runs)
    query = replace(query, batches=np.full_like(query.batches, fresh))
    # As if the pool ended with examples that were left for the runs asked about.
    order = np.append(np.setdiff1d(np.arange(POOL), fresh), fresh).argsort()
    renumbered = tuple(
        replace(run, curriculum=replace(run.curriculum, batches=order[run.curriculum.batches])) for run in data.fit_runs
    )
    fitted = ExposureGp(features=False).fit(replace(data, fit_runs=renumbered))
    last = replace(query, batches=np.full_like(query.batches, POOL - 1))
    again = ExposureGp(features=False).restore(fitted.state())
    for one in (fitted, again):
        assert np.isfinite(one.predict(last).values).all()
        assert one.influence_of(np.array([POOL - 1]), {}, np.eye(TEST))[0].shape == (1, TEST)
    with pytest.raises(DataError, match=f"a batch names example {POOL}, fitted were {POOL}"):
        fitted.predict(replace(query, batches=np.full_like(query.batches, POOL)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"link": "probit"}, "link is 'probit': give auto, identity, log, odds or logit"),
        ({"link": None}, "link is None"),
        ({"prior": "yes"}, "prior is 'yes': give true or false"),
        ({"features": 1}, "features is 1: give true or false"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ExposureGp(**settings)


BROKEN = {
    "one run": (
        lambda data: replace(data, fit_runs=data.fit_runs[:1], metric=replace(data.metric, name="other")),
        "there is one run to fit, and gradients are of the loss alone, not of other: give --metric loss",
    ),
    "no run": (lambda data: replace(data, fit_runs=()), "there is no run to fit"),
    "no features": (lambda data: replace(data, features=None), "needs the examples' vectors: run `gptfl featurize`"),
    "pool": (
        lambda data: with_set(data, np.ones((3, 4)), np.ones((TEST, 4))),
        f"feature set 'raw-0' has vectors for 3 pool and {TEST} test examples, the recording has {POOL} and {TEST}",
    ),
    "test": (lambda data: with_set(data, np.ones((POOL, 4)), np.ones((2, 4))), "and 2 test examples"),
    "infinite": (
        lambda data: with_set(data, np.full((POOL, 4), np.inf), np.ones((TEST, 4))),
        "feature set 'raw-0' holds numbers that aren't finite: featurize again",
    ),
    "pieces": (
        lambda data: replace(
            data,
            fit_runs=tuple(
                replace(begun(run, number), curriculum=blank(run.curriculum, 4 * number))
                for number, run in enumerate(data.fit_runs[:3])
            ),
        ),
        "1 of the 3 runs to fit can be told from their beginning and is no copy of another, fewer than 2",
    ),
    "copies": (
        lambda data: replace(data, fit_runs=data.fit_runs[:1] * 3),
        "1 of the 3 runs to fit can be told from their beginning and is no copy of another, fewer than 2",
    ),
    "no common step": (
        lambda data: replace(data, fit_runs=tuple(at(run, [0, 1 + row]) for row, run in enumerate(data.fit_runs))),
        "two runs to fit or more recorded step 0 and no other: record runs at the same steps (gptfl collect "
        "--record-every), or another metric",
    ),
    "nothing known": (
        lambda data: replace(
            data, fit_runs=tuple(replace(run, metrics={"loss": 0 * recorded([run])[0] * np.nan}) for run in data.fit_runs)
        ),
        "there is no step at which loss is known",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_data_that_cannot_be_fitted_is_reported_in_one_line(change, message):
    data, _ = world(runs=4)
    with pytest.raises(DataError) as error:
        ExposureGp().fit(change(data))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_questions_that_cannot_be_answered_are_reported_in_one_line():
    data, runs = world(runs=4)
    query = question(runs)
    with pytest.raises(DataError, match="isn't fitted"):
        ExposureGp().predict(query)
    fitted = ExposureGp().fit(data)
    with pytest.raises(DataError, match=f"step {STEPS + 1} is outside steps 0 to {STEPS}"):
        fitted.predict(replace(query, steps=np.array([0, STEPS + 1])))
    with pytest.raises(DataError, match=f"asked for 2 test examples, fitted on {TEST}"):
        fitted.predict(replace(query, first=query.first[:, :2]))
    bare = about(query, data, tests=TEST - 1)
    with pytest.raises(DataError, match="the question has no vectors"):
        fitted.predict(replace(bare, unseen=replace(bare.unseen, features=None)))
    other = replace(data.features, sets={"text": data.features.sets["raw-0"]})
    with pytest.raises(DataError, match="there is no feature set 'raw-0'"):
        fitted.predict(replace(bare, unseen=replace(bare.unseen, features=other)))
    with pytest.raises(DataError, match=r"has shape \(24, 3\), not \(24, 4\)"):
        fitted.influence_of(np.arange(POOL), {"raw-0": np.ones((POOL, 3))}, np.eye(TEST))


def test_a_question_about_the_first_step_alone_is_answered_with_it():
    data, runs = world(runs=4)
    query = question(runs)
    query = Query(query.batches, query.learning_rates, query.steps[:1], query.first)
    predicted = ExposureGp().fit(data).predict(query)
    np.testing.assert_array_equal(predicted.values[:, 0], query.first)
    assert (predicted.novelty == 0).all()
