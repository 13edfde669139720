from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import (
    Curriculum,
    Features,
    FeatureSet,
    FitData,
    GradientProducts,
    MetricInfo,
    Query,
    Run,
    Unseen,
    examples_fingerprint,
)
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.exposure_gp.calibration import Calibration
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from tests.synthetic import examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
ACCURACY = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)
BLEU = MetricInfo("bleu", higher_is_better=True, low=0.0, high=100.0)
POOL, TEST, STEPS, BATCH = 24, 8, 16, 3
RECORDED = np.arange(0, STEPS + 1, 4)


def world(runs=16, queried=6, metric=LOSS, noise=0.05, seed=0, pool=POOL, test=TEST, kind="gradient", own=0.3):
    """Runs whose losses move linearly with what they see, by products of gradients and effects of each example's own.

    The data to fit, and the runs to ask about.
    """
    random = np.random.default_rng(seed)
    train, tests = random.normal(size=(pool, 4)), random.normal(size=(test, 4))
    effects = -train @ tests.T / 2 + own * random.normal(size=(pool, test))
    begin, rates = random.uniform(-0.5, 0.5, size=test), linear_decay(1.0, STEPS)
    made = []
    for index in range(runs + queried):
        key = run_seed(seed, index)
        batches = fill_batches(draw_subset(pool, pool // 3, key), BATCH, STEPS, key)
        seen = exposures(batches[None], rates[None], RECORDED, pool)[0] / rates.sum()
        line = begin - 0.8 * (RECORDED / STEPS)[:, None] + 2 * seen @ effects
        line[1:] += noise * random.normal(size=line[1:].shape)
        if metric.high == float("inf"):
            values = np.exp(line / 2)
        else:
            values = metric.low + (metric.high - metric.low) / (1 + np.exp(line))
        made.append(Run(index, key, "fit", Curriculum(batches, rates), RECORDED, {metric.name: values}))
    named = examples("train", pool, 2), examples("test", test, 2)
    one = FeatureSet(train.astype(np.float32), tests.astype(np.float32), kind)
    sets = {"raw-0": one} if kind == "gradient" else {"text": one}
    features = Features("synthetic", {}, examples_fingerprint(*named), sets)
    return FitData(*named, metric, tuple(made[:runs]), features=features), made[runs:]


def question(runs, metric="loss"):
    return testing.synthetic.make_query(runs, metric)


def recorded(runs, metric="loss"):
    return np.stack([run.metrics[metric] for run in runs])


def skill(values, truth, mean):
    return 1 - np.square(values - truth)[:, 1:].sum() / np.square(mean - truth)[:, 1:].sum()


def covered(prediction, truth, level):
    low, high = prediction.intervals[level]
    return ((truth >= low) & (truth <= high))[:, 1:].mean()


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


@pytest.mark.parametrize("settings", [{}, {"features": False}], ids=["features", "no features"])
def test_intervals_cover_what_they_say(settings):
    shares = {0.5: [], 0.9: []}
    for seed in range(6):
        data, runs = world(runs=14, queried=30, noise=0.1, seed=seed)
        predicted = ExposureGp(**settings).fit(data).predict(question(runs))
        for level, found in shares.items():
            found.append(covered(predicted, recorded(runs), level))
    assert 0.8 <= np.mean(shares[0.9]) <= 0.97
    assert 0.38 <= np.mean(shares[0.5]) <= 0.68


def test_intervals_of_unseen_test_examples_doubt_the_mean_that_was_carried_over():
    shares, widths = [], []
    for seed in range(6):
        data, runs = world(runs=14, queried=20, test=30, seed=seed)
        predicted = ExposureGp().fit(of_first(data, tests=20)).predict(about(question(runs), data, tests=20))
        low, high = predicted.intervals[0.9]
        truth = recorded(runs)
        shares.append(((truth >= low) & (truth <= high))[:, 1:, 20:].mean())
        widths.append((high - low)[:, 1:, 20:].mean() / (high - low)[:, 1:, :20].mean())
    assert 0.75 <= np.mean(shares) <= 0.99
    assert np.mean(widths) > 1.0


def of_first(data, pool=None, tests=None):
    """The data of the first examples alone."""
    one = next(iter(data.features.sets))
    vectors = data.features.sets[one]
    sets = {one: FeatureSet(vectors.train[:pool], vectors.test[:tests], vectors.kind)}
    name = data.metric.name
    runs = tuple(replace(run, metrics={name: run.metrics[name][:, :tests]}) for run in data.fit_runs)
    given = data.pool[:pool], data.test[:tests]
    features = Features("synthetic", {}, examples_fingerprint(*given), sets)
    return replace(data, pool=given[0], test=given[1], fit_runs=runs, features=features)


def about(query, data, pool=None, tests=None):
    """The question about all examples, of which the first so many were fitted."""
    places = [
        np.where(np.arange(len(side)) < (len(side) if count is None else count), np.arange(len(side)), -1)
        for side, count in ((data.pool, pool), (data.test, tests))
    ]
    return replace(query, unseen=Unseen(data.pool, data.test, *places, data.features))


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"features": False}], ids=["features", "no features"])
def test_few_runs_give_finite_results_and_wider_intervals(runs, settings):
    data, queried = world(runs=20, own=0.1)
    query = question(queried)
    few = ExposureGp(**settings).fit(replace(data, fit_runs=data.fit_runs[:runs])).predict(query)
    many = ExposureGp(**settings).fit(data).predict(query)
    assert np.isfinite(few.values).all()
    widths = [(one.intervals[0.9][1] - one.intervals[0.9][0])[:, 1:].mean() for one in (few, many)]
    assert widths[0] > widths[1]
    assert covered(few, recorded(queried), 0.9) > 0.5


def test_few_runs_are_enough_where_gradients_tell():
    data, queried = world(runs=3, queried=10, own=0.0)
    query = question(queried)
    values = ExposureGp().fit(data).predict(query).values
    assert skill(values, recorded(queried), MeanRun().fit(data).predict(query).values) > 0.8


def exact(data, blur=0.0, seed=9):
    """The products of the data's gradients, as recorded, and the data with sketches of these, of so much noise."""
    one = data.features.sets["raw-0"]
    raw = (one.train @ one.test.T)[None].astype(np.float32)
    nothing = np.full_like(raw, np.nan)
    own = np.ones((1, len(data.pool)), dtype=np.float32)
    products = GradientProducts(
        0, np.array([0]), linear_decay(1.0, STEPS), raw, nothing, own, np.full_like(own, np.nan)
    )
    random = np.random.default_rng(seed)
    noisy = FeatureSet(*(x + blur * random.normal(size=x.shape) for x in (one.train, one.test)), "gradient")
    return products, replace(data, features=replace(data.features, sets={"raw-0": noisy}))


def test_exact_products_mend_what_sketches_blur():
    data, queried = world(runs=4, queried=20, own=0.0)
    products, blurred = exact(data, blur=2.0)
    query, truth = question(queried), recorded(queried)
    mean = MeanRun().fit(data).predict(query).values
    assert ExposureGp().tags.takes == {"gradients"}
    for idle in ({"prior": False}, {"products": False}, {"features": False}):
        assert ExposureGp(**idle).tags.takes == set()
    without, with_them = (
        skill(ExposureGp().fit(replace(blurred, gradients=given)).predict(query).values, truth, mean)
        for given in (None, products)
    )
    assert with_them > 0.8
    assert with_them > without + 0.2
    idle = ExposureGp(prior=False)
    values = [idle.fit(replace(blurred, gradients=given)).predict(query).values for given in (None, products)]
    np.testing.assert_array_equal(*values)


def test_exact_products_of_strangers_count_where_they_are_known_and_sketches_elsewhere():
    data, runs = world(runs=14, queried=20, own=0.0)
    products, sketched = exact(data)
    tests, pool = TEST - 3, POOL - 4
    rows = replace(
        products, raw=products.raw[:, :pool, :tests], preconditioned=products.preconditioned[:, :pool, :tests]
    )
    fit_runs = tuple(
        replace(
            run,
            curriculum=Curriculum(
                np.where(run.curriculum.batches < pool, run.curriculum.batches, -1), run.curriculum.learning_rates
            ),
        )
        for run in data.fit_runs
    )
    some = replace(of_first(replace(sketched, fit_runs=fit_runs), pool, tests), gradients=rows)
    fitted = ExposureGp().fit(some)
    query = about(question(runs), sketched, pool, tests)
    # Where sketches are exact, it makes no difference whether the strangers' products are given.
    plain = fitted.predict(query).values
    predicted = fitted.predict(replace(query, unseen=replace(query.unseen, gradients=products))).values
    np.testing.assert_allclose(plain, predicted, rtol=1e-4, atol=1e-5)
    # Where they say nothing, the given ones still tell.
    silent = replace(
        sketched.features,
        sets={
            "raw-0": FeatureSet(
                0 * sketched.features.sets["raw-0"].train, sketched.features.sets["raw-0"].test, "gradient"
            )
        },
    )
    mute = replace(query, unseen=replace(query.unseen, features=silent))
    deaf = fitted.predict(mute).values
    heard = fitted.predict(replace(mute, unseen=replace(mute.unseen, gradients=products))).values
    truth = recorded(runs)
    assert np.square(heard - truth).sum() < np.square(deaf - truth).sum()


def test_products_are_left_aside_without_vectors_that_could_stand_in_for_them():
    data, queried = world(runs=8)
    products, _ = exact(data)
    random = np.random.default_rng(3)
    text = FeatureSet(random.normal(size=(POOL, 3)), random.normal(size=(TEST, 3)))
    data = replace(data, features=Features("text", {}, data.features.examples, {"text": text}))
    values = [
        ExposureGp().fit(replace(data, gradients=given)).predict(question(queried)).values for given in (None, products)
    ]
    np.testing.assert_array_equal(*values)
    # Raw vectors can't tell preconditioned products.
    both = replace(products, preconditioned=products.raw, self_preconditioned=products.self_raw)
    fitted = ExposureGp().fit(replace(exact(world(runs=8)[0])[1], gradients=both))
    assert fitted.model_.products.kinds.keys() == {"raw"}


def test_exact_products_survive_being_kept():
    data, queried = world(runs=6)
    products, blurred = exact(data, blur=1.0)
    fitted = ExposureGp().fit(replace(blurred, gradients=products))
    state = fitted.state()
    again = ExposureGp(**fitted.settings()).restore(state)
    np.testing.assert_array_equal(fitted.predict(question(queried)).values, again.predict(question(queried)).values)
    for name, wrong in (
        ("products:raw", state["products:raw"][:, 1:]),
        ("products:raw", np.full_like(state["products:raw"], np.nan)),
        ("points:raw", state["points:raw"][:0]),
        ("points:raw", state["points:raw"].astype(np.float64)),
    ):
        with pytest.raises(DataError, match="fit it again"):
            ExposureGp().restore({**state, name: wrong})
    with pytest.raises(DataError, match="fit it again"):
        ExposureGp().restore({name: one for name, one in state.items() if name != "points:raw"})


def test_influence_on_itself_takes_gradients():
    data, _ = world(runs=4)
    fitted = ExposureGp().fit(data)
    assert not ExposureGp().has_self_influence
    assert fitted.has_self_influence
    np.testing.assert_allclose(fitted.self_influence(), (data.features.sets["raw-0"].train ** 2).sum(axis=1), rtol=1e-5)
    text, _ = world(runs=4, kind="embedding")
    bare = ExposureGp().fit(text)
    assert not bare.has_self_influence
    with pytest.raises(DataError, match="has none: use --how replace"):
        bare.self_influence()


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


def test_beyond_all_that_was_recorded_intervals_reach_back_to_it():
    data, _ = world(runs=8)
    fitted = ExposureGp(link="log").fit(data)
    # A run that sees one example alone goes further than any that was recorded.
    batches, rates = np.zeros((POOL, STEPS, BATCH), dtype=int), np.tile(linear_decay(1.0, STEPS), (POOL, 1))
    batches += np.arange(POOL)[:, None, None]
    first = np.tile(data.fit_runs[0].metrics["loss"][0], (POOL, 1))
    predicted = fitted.predict(Query(batches, rates, RECORDED, first))
    known = recorded(data.fit_runs)
    least, most = known.min(axis=(0, 1)), known.max(axis=(0, 1))
    below, above = predicted.values < least, predicted.values > most
    assert below.any()
    assert above.any()
    low, high = predicted.intervals[0.9]
    assert (high[below] >= np.broadcast_to(least, high.shape)[below]).all()
    assert (low[above] <= np.broadcast_to(most, low.shape)[above]).all()
    # Those of 50 % take the scale as it is.
    assert (predicted.intervals[0.5][1][below] < np.broadcast_to(least, high.shape)[below]).any()


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


def test_what_a_runs_own_first_score_is_judged_by_is_kept(monkeypatch):
    data, runs = world(runs=16, queried=4)
    late = tuple(begun(run, 1) for run in data.fit_runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=late))
    state, query = fitted.state(), question([begun(run, 1) for run in runs])
    predicted = fitted.predict(query)
    with monkeypatch.context() as patched:
        patched.setattr(Calibration, "_refitted", lambda *_: pytest.fail("models are fitted anew to answer"))
        again = ExposureGp().restore(state).predict(query)
    np.testing.assert_array_equal(predicted.values, again.values)
    np.testing.assert_array_equal(predicted.intervals[0.9], again.intervals[0.9])
    # What older versions kept has none of it, and answers alike.
    older = ExposureGp().restore({name: array for name, array in state.items() if name != "errors"})
    np.testing.assert_allclose(older.predict(query).values, predicted.values, rtol=1e-4)
    # Nothing is kept that isn't asked for.
    assert "errors" not in ExposureGp().fit(data).state()


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


def zeros_and_ones(seed=0, runs=16, queried=20):
    """Runs whose scores are 0 or 1 by chance, with a probability that moves linearly with what they see."""
    data, held = world(runs=runs, queried=queried, metric=ACCURACY, seed=seed)
    random = np.random.default_rng(seed)

    def drawn(run):
        values = (random.random(run.metrics["accuracy"].shape) < run.metrics["accuracy"]).astype(float)
        values[0] = np.arange(TEST) % 2
        return replace(run, metrics={"accuracy": values})

    chances = recorded(held, "accuracy")
    return replace(data, fit_runs=tuple(map(drawn, data.fit_runs))), [drawn(run) for run in held], chances


def test_of_zeros_and_ones_the_probability_is_reported():
    brier, plain, inside, chosen = [], [], [], []
    for seed in range(4):
        data, held, chances = zeros_and_ones(seed)
        fitted = ExposureGp().fit(data)
        assert fitted.model_.binary
        predicted = fitted.predict(question(held, "accuracy"))
        values = predicted.values[:, 1:]
        assert ((values > 0) & (values < 1)).all()
        brier.append(np.square(values - chances[:, 1:]).mean())
        average = np.stack([run.metrics["accuracy"] for run in data.fit_runs]).mean(axis=0)
        plain.append(np.square(average[1:] - chances[:, 1:]).mean())
        low, high = predicted.intervals[0.9]
        assert set(np.unique(low)) | set(np.unique(high)) <= {0.0, 1.0}
        inside.append(covered(predicted, recorded(held, "accuracy"), 0.9))
        chosen.append((low == high)[:, 1:].mean())
        np.testing.assert_array_equal(predicted.intervals[0.5][0][:, 1:], (values >= 0.5))
    assert np.mean(brier) < np.mean(plain) + 0.002
    assert np.mean(inside) > 0.9
    assert np.mean(chosen) > 0.0


def test_of_zeros_and_ones_that_are_all_alike_nothing_is_certain():
    data, held, _ = zeros_and_ones(runs=5)
    ones = tuple(replace(run, metrics={"accuracy": np.ones_like(run.metrics["accuracy"])}) for run in data.fit_runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=ones))
    np.testing.assert_allclose(fitted.predict(question(held, "accuracy")).values[:, 1:], 5.5 / 6)
    assert fitted.notes_ == ()


def test_runs_that_do_not_differ_give_no_intervals_and_say_so():
    data, runs = world(runs=5)
    same = tuple(replace(run, metrics=data.fit_runs[0].metrics) for run in data.fit_runs)
    for equal_runs in (same, tuple(replace(run, curriculum=data.fit_runs[0].curriculum) for run in data.fit_runs)):
        fitted = ExposureGp().fit(replace(data, fit_runs=equal_runs))
        predicted = fitted.predict(question(runs))
        assert predicted.intervals == {}
        assert fitted.notes_[-1] == (
            "exposure-gp: the 5 runs to fit don't differ in what they saw or in what was recorded, and nothing says how "
            "far others may: predictions have no intervals"
        )
        again = ExposureGp().restore(fitted.state()).predict(question(runs))
        assert again.intervals == {}
        np.testing.assert_array_equal(predicted.values, again.values)


def test_a_step_at_which_runs_happen_not_to_differ_has_a_width():
    data, runs = world(runs=6)

    def level(run):
        values = run.metrics["loss"].copy()
        values[2] = 1.0
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(map(level, data.fit_runs))))
    low, high = fitted.predict(question(runs)).intervals[0.9]
    width = (high - low).mean(axis=(0, 2))
    assert 0.2 * width[3] < width[2] < 2 * width[3]
    assert width[0] == 0


@pytest.mark.parametrize("settings", [{}, {"features": False}, {"prior": False}])
def test_is_the_same_to_the_last_bit_after_its_state_was_taken_back(settings):
    data, runs = world(runs=8)
    fitted = ExposureGp(**settings).fit(data)
    copied = {name: np.array(array) for name, array in fitted.state().items()}
    restored = ExposureGp(**fitted.settings()).restore(copied)
    one, other = (estimator.predict(question(runs)) for estimator in (fitted, restored))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.novelty, other.novelty)
    for level in (0.5, 0.9):
        np.testing.assert_array_equal(one.intervals[level], other.intervals[level])
    vectors = {} if "features" in settings else {"raw-0": data.features.sets["raw-0"].train}
    given = np.arange(POOL), vectors, np.eye(TEST)
    np.testing.assert_array_equal(fitted.influence_of(*given), restored.influence_of(*given))


def test_what_a_state_of_before_does_not_keep_is_found_anew():
    data, runs = world(runs=8)
    state = ExposureGp().fit(data).state()
    older = {name: array for name, array in state.items() if name not in ("strengths", "reach")}
    one, other = (ExposureGp().restore(given).predict(question(runs)) for given in (state, older))
    np.testing.assert_array_equal(one.values, other.values)
    for level in (0.5, 0.9):
        np.testing.assert_array_equal(one.intervals[level], other.intervals[level])


def test_influence_is_positive_where_it_betters_the_metric():
    for metric in (LOSS, ACCURACY):
        data, _ = world(metric=metric, own=0.0)
        vectors = {"raw-0": data.features.sets["raw-0"].train}
        found, spread = ExposureGp().fit(data).influence_of(np.arange(POOL), vectors, np.eye(TEST))
        aligned = data.features.sets["raw-0"].train @ data.features.sets["raw-0"].test.T
        assert np.corrcoef(found.ravel(), (aligned - aligned.mean(axis=0)).ravel())[0, 1] > 0.85
        assert (spread > 0).all()


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


def with_set(data, train, test):
    return replace(data, features=replace(data.features, sets={"raw-0": FeatureSet(train, test, "gradient")}))


def at(run, rows):
    """The run as if it had been recorded at some of its steps alone."""
    return replace(run, steps=run.steps[rows], metrics={name: one[rows] for name, one in run.metrics.items()})


def begun(run, row):
    """The run as if it had been recorded from a later step on."""
    return at(run, np.arange(row, len(run.steps)))


def blank(curriculum, steps):
    """The curriculum without its first batches."""
    kept = np.arange(curriculum.steps)[:, None] >= steps
    return replace(curriculum, batches=np.where(kept, curriculum.batches, -1))


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


def test_pieces_of_runs_of_which_the_beginning_is_not_known_are_left_out_and_named():
    data, runs = world(runs=8)
    piece = begun(data.fit_runs[7], 2)
    piece = replace(piece, curriculum=blank(piece.curriculum, 8), metrics={"loss": piece.metrics["loss"] + 100})
    query = question(runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs[:7], piece)))
    without = ExposureGp().fit(replace(data, fit_runs=data.fit_runs[:7]))
    np.testing.assert_array_equal(fitted.predict(query).values, without.predict(query).values)
    assert fitted.notes_ == (
        "exposure-gp: left out 1 of 8 runs or pieces of runs: they begin after step 0, and it isn't known on what was "
        "trained before (run-0007)",
    )
    assert without.notes_ == ()


def test_runs_recorded_from_another_step_on_count_from_there():
    data, runs = world(runs=24, queried=12)
    late = tuple(run if number < 2 else begun(run, 1) for number, run in enumerate(data.fit_runs))
    fitted, whole = (ExposureGp().fit(replace(data, fit_runs=some)) for some in (late, data.fit_runs))
    members = [step.members.tolist() for step, _ in fitted.model_.solved]
    assert members == [[0, 1], *[list(range(24))] * 4]
    assert fitted.notes_ == (
        "exposure-gp: 22 of 24 runs have no score at step 0 and count from their first one on (run-0002, run-0003, "
        "run-0004, run-0005, run-0006, run-0007 and 16 more)",
    )
    one, other = (estimator.predict(question(runs)).values for estimator in (fitted, whole))
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("missing", ["tail", "diverged", "first"])
def test_what_a_run_lacks_is_not_taken_for_what_others_did(missing):
    """Half of the runs are the others' mean where they end, if that is filled in: effects would come to half."""
    data, runs = world(runs=16, queried=12)
    gone = np.full((len(RECORDED), TEST), False)
    gone[{"tail": slice(3, None), "diverged": slice(3, None), "first": slice(0, 1)}[missing]] = True
    if missing == "first":
        gone[:, 1:] = False
    lost = np.inf if missing == "diverged" else np.nan
    holed = tuple(
        replace(run, metrics={"loss": np.where(gone, lost, run.metrics["loss"])}) if number % 2 else run
        for number, run in enumerate(data.fit_runs)
    )
    fitted = ExposureGp().fit(replace(data, fit_runs=holed))
    kept = ExposureGp().fit(replace(data, fit_runs=holed[::2]))
    query = question(runs)
    ours, theirs = fitted.predict(query), kept.predict(query)
    mean = MeanRun().fit(data).predict(query).values
    assert skill(ours.values, recorded(runs), mean) > skill(theirs.values, recorded(runs), mean) - 0.02
    members = [len(step.members) for step, _ in fitted.model_.solved]
    assert members == ([16] * 5 if missing == "first" else [16, 16, 16, 8, 8])
    assert ("8 scores are missing" in "".join(fitted.notes_)) == (missing == "first")


def test_runs_recorded_at_other_steps_count_where_they_share_them():
    data, runs = world(runs=12)
    sparse = tuple(at(run, [0, 2, 4]) if number < 6 else run for number, run in enumerate(data.fit_runs))
    fitted = ExposureGp().fit(replace(data, fit_runs=sparse))
    assert [len(step.members) for step, _ in fitted.model_.solved] == [12, 6, 12, 6, 12]
    assert fitted.notes_ == ()
    alone = (*(at(run, [0, 2, 4]) for run in data.fit_runs[:-1]), data.fit_runs[-1])
    fitted = ExposureGp().fit(replace(data, fit_runs=alone))
    assert fitted.steps_.tolist() == [0, 8, 16]
    assert fitted.notes_ == ("exposure-gp: left out 2 steps (4, 12), which a single run recorded",)
    stranger = replace(data.fit_runs[0], steps=np.array([3, 7]), metrics={"loss": recorded(runs)[0, :2]})
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs[1:], stranger)))
    assert "left out run-0000, recorded at no step that another run was recorded at" in "".join(fitted.notes_)
    assert len(fitted.model_.even) == 11


def test_steps_beyond_the_scores_of_a_test_example_are_left_out_and_told():
    data, _ = world(runs=6)

    def cut(run):
        values = run.metrics["loss"].copy()
        values[3:, 5] = np.nan
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(cut(run) for run in data.fit_runs)))
    assert fitted.steps_.tolist() == [0, 4, 8]
    assert fitted.notes_ == (
        "exposure-gp: left out 2 steps (12, 16), where no run has a loss of every test example (such as 'test-5')",
    )


def test_where_too_much_is_missing_the_runs_that_lack_the_most_are_left_out(monkeypatch):
    data, _ = world(runs=10)
    monkeypatch.setattr("gptfl.estimators.exposure_gp.recorded.CELLS", 4)

    def holed(number, run):
        values = run.metrics["loss"].copy()
        values[2, : number % 4] = np.nan
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(map(holed, range(10), data.fit_runs))))
    assert fitted.model_.solved[2][0].members.tolist() == [0, 1, 4, 5, 8, 9]
    assert fitted.notes_[-1] == "exposure-gp: left out 22 scores at steps at which more than 4 are missing"


def test_the_same_run_again_to_the_last_bit_counts_once():
    data, runs = world(runs=8)
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs, data.fit_runs[2])))
    once = ExposureGp().fit(data)
    np.testing.assert_array_equal(fitted.predict(question(runs)).values, once.predict(question(runs)).values)
    assert fitted.notes_ == (
        "exposure-gp: 1 of 9 runs are another one again, with the same batches and scores, and count once (run-0002)",
    )


def test_runs_that_end_early_count_for_as_long_as_they_last():
    data, runs = world(runs=8)
    short = tuple(
        replace(
            run,
            curriculum=Curriculum(run.curriculum.batches[:8], run.curriculum.learning_rates[:8]),
            steps=run.steps[:3],
            metrics={"loss": run.metrics["loss"][:3]},
        )
        for run in data.fit_runs[:4]
    )
    mixed = ExposureGp().fit(replace(data, fit_runs=(*short, *data.fit_runs[4:])))
    predicted, whole = mixed.predict(question(runs)), ExposureGp().fit(data).predict(question(runs))
    assert mixed.model_.solved[2][0].members.tolist() == list(range(8))
    assert mixed.model_.solved[3][0].members.tolist() == [4, 5, 6, 7]
    widths = [(one.intervals[0.9][1] - one.intervals[0.9][0])[:, -1].mean() for one in (predicted, whole)]
    assert widths[0] > widths[1]


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_gaps_in_a_recording_are_bridged(share):
    data, runs = world(runs=10)
    random = np.random.default_rng(0)

    def gaps(values):
        return np.where(random.random(values.shape) < share, np.nan, values)

    holed = tuple(replace(run, metrics={"loss": gaps(run.metrics["loss"])}) for run in data.fit_runs)
    # The first score of a run and its last may be missing as well; some test examples are known of few runs.
    fitted = ExposureGp().fit(replace(data, fit_runs=holed))
    query = question(runs)
    query = replace(query, steps=np.union1d(query.steps[:1], fitted.steps_))
    predicted = fitted.predict(query)
    assert np.isfinite(predicted.values).all()
    assert np.isfinite(predicted.intervals[0.9]).all()


def test_a_gap_that_all_runs_have_is_bridged():
    data, runs = world(runs=4)
    holed = []
    for number, run in enumerate(data.fit_runs):
        values = run.metrics["loss"].copy()
        # Two runs know the beginning of a test example, the others its end.
        values[2 if number < 2 else 0 : None if number < 2 else 3, 5] = np.nan
        holed.append(replace(run, metrics={"loss": values}))
    assert np.isfinite(ExposureGp().fit(replace(data, fit_runs=tuple(holed))).predict(question(runs)).values).all()


@pytest.mark.parametrize("settings", [{}, {"features": False}])
def test_runs_of_the_same_curriculum_are_no_trouble(settings):
    data, runs = world(runs=4)
    same = tuple(replace(run, curriculum=data.fit_runs[0].curriculum) for run in data.fit_runs)
    predicted = ExposureGp(**settings).fit(replace(data, fit_runs=same)).predict(question(runs))
    assert np.isfinite(predicted.values).all()
    assert (predicted.values < 20).all()
    flat = tuple(replace(run, metrics={"loss": np.full_like(run.metrics["loss"], 2.0)}) for run in data.fit_runs)
    predicted = ExposureGp(**settings).fit(replace(data, fit_runs=flat)).predict(question(runs))
    np.testing.assert_allclose(predicted.values[:, 1:], 2.0)


DAMAGE = {
    "missing": lambda state: state.pop("values"),
    "no test side": lambda state: state.pop("test:raw-0"),
    "pool": lambda state: state.update(seen=state["seen"][:-5]),
    "huge index": lambda state: state.update(batches=state["batches"] + 10**12),
    "fractions": lambda state: state.update(batches=state["batches"] + 0.5),
    "dimensions": lambda state: state.update(values=state["values"][0]),
    "fewer runs": lambda state: state.update(values=state["values"][:1]),
    "all lost": lambda state: state.update(values=state["values"] * np.nan),
    "rates": lambda state: state.update(learning_rates=state["learning_rates"][:, 1:]),
    "endless rates": lambda state: state.update(learning_rates=state["learning_rates"] * np.inf),
    "steps": lambda state: state.update(steps=state["steps"][::-1]),
    "train": lambda state: state.update({"train:raw-0": state["train:raw-0"][:, 0]}),
    "test": lambda state: state.update({"test:raw-0": state["test:raw-0"][:2]}),
    "widths": lambda state: state.update({"test:raw-0": state["test:raw-0"][:, :2]}),
    "infinite": lambda state: state.update({"train:raw-0": state["train:raw-0"] * np.inf}),
    "weights": lambda state: state.update(weights=state["weights"][:1]),
    "no weights": lambda state: state.update(weights=state["weights"] * np.nan),
    "scales": lambda state: state.update(scales=np.ones(9)),
    "shares": lambda state: state.update(shares=np.array([2.0, 0.5])),
    "one share": lambda state: state.update(shares=np.array([0.5])),
    "link": lambda state: state.update(link=np.array([9.0, 0, 1, 1])),
    "negative link": lambda state: state.update(link=np.array([-1.0, 0, 1, 1])),
    "strengths": lambda state: state.update(strengths=state["strengths"][1:]),
    "errors": lambda state: state.update(errors=np.zeros((2, 2, 2))),
    "infinite errors": lambda state: state.update(errors=np.full(state["values"].shape, np.inf)),
    "negative strengths": lambda state: state.update(strengths=-state["strengths"]),
    "reach": lambda state: state.update(reach=state["reach"][:1]),
    "endless reach": lambda state: state.update(reach=state["reach"] * np.inf),
    "no link": lambda state: state.update(link=np.array([np.nan, 0, 1, 1])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_refused_in_one_line(damage):
    data, _ = world(runs=4)
    state = {name: np.array(array) for name, array in ExposureGp().fit(data).state().items()}
    damage(state)
    with pytest.raises(DataError, match="exposure-gp: its arrays are missing or ill-shaped") as error:
        ExposureGp().restore(state)
    assert "\n" not in str(error.value)


def test_a_question_about_the_first_step_alone_is_answered_with_it():
    data, runs = world(runs=4)
    query = question(runs)
    query = Query(query.batches, query.learning_rates, query.steps[:1], query.first)
    predicted = ExposureGp().fit(data).predict(query)
    np.testing.assert_array_equal(predicted.values[:, 0], query.first)
    assert (predicted.novelty == 0).all()


def test_a_simulator_fitted_before_predicts_what_it_did():
    """An archived state and what it predicted when it was made, before there were rules to say by which it does."""
    with np.load(Path(__file__).parent / "samples" / "exposure-gp.v1.npz") as kept:
        sample = dict(kept)
    state = {name.removeprefix("state/"): array for name, array in sample.items() if name.startswith("state/")}
    restored = ExposureGp().restore(state)
    predicted = restored.predict(Query(*(sample[name] for name in ("batches", "learning_rates", "steps", "first"))))
    np.testing.assert_allclose(predicted.values, sample["values"], rtol=1e-6)
    for bound, name in zip(predicted.intervals[0.9], ("low", "high"), strict=True):
        np.testing.assert_allclose(bound, sample[name], rtol=1e-6)
    np.testing.assert_allclose(predicted.novelty, sample["novelty"], rtol=1e-6)
    assert "rules" not in restored.state()
    with pytest.raises(DataError, match="predicts by rules 7"):
        ExposureGp().restore({**state, "rules": np.array(7)})


def test_few_runs_widen_intervals_by_how_many_of_them_do_not_belong_together():
    data, runs = world(runs=4)
    query = question(runs)
    fitted = ExposureGp(link="log").fit(data)
    low, high = fitted.predict(query).intervals[0.5]
    # The same spread by Student's t with two degrees of freedom instead of four.
    fitted.model_.groups = np.array([0, 0, 1, 1])
    fitted.reach_ = fitted.calibration_.reach((0.5, 0.9))
    narrow, wide = (np.log(b / a)[:, 1:] for a, b in ((low, high), fitted.predict(query).intervals[0.5]))
    np.testing.assert_allclose(wide / narrow, 0.8164966 / 0.7406971, rtol=1e-5)


@pytest.mark.parametrize(("count", "message"), [(2, True), (4, True), (5, False)])
def test_very_few_runs_are_said_to_tell_little_of_the_width(count, message):
    notes = ExposureGp().fit(world(runs=count)[0]).notes_
    assert any(f"how wide intervals must be is told by {count} runs: " in note for note in notes) == message
