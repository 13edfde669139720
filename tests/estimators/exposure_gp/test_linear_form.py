"""The arrays of a fitted process predict what it predicts, and know how sure the mean over test examples is."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from gptfl.core import Curriculum, Features, FeatureSet, FitData, MetricInfo, Query, Run, examples_fingerprint
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from tests.synthetic import examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
POOL, TEST, STEPS, BATCH = 20, 5, 12, 2
GRID = np.arange(0, STEPS + 1, 4)


def fitted(kind="gradient", link="log", runs=8, weights=None, subset=6, values=None):
    """An estimator fitted to runs of a law that is linear in exposures, and the first scores."""
    random = np.random.default_rng(3)
    train, tests = random.normal(size=(POOL, 4)), random.normal(size=(TEST, 4))
    effects = -train @ tests.T / 2 + 0.3 * random.normal(size=(POOL, TEST))
    begin, rates = random.uniform(-0.5, 0.5, size=TEST), linear_decay(1.0, STEPS)
    made = []
    for index in range(runs):
        key = run_seed(5, index)
        batches = fill_batches(draw_subset(POOL, subset, key), BATCH, STEPS, key)
        seen = exposures(batches[None], rates[None], GRID, POOL)[0] / rates.sum()
        line = begin - 0.8 * (GRID / STEPS)[:, None] + 2 * seen @ effects
        line[1:] += 0.05 * random.normal(size=line[1:].shape)
        made.append(Run(index, key, "fit", Curriculum(batches, rates), GRID, {"loss": np.exp(line / 2)}))
    pool = examples("train", POOL, 2)
    if weights is not None:
        pool = tuple(replace(one, weight=int(weight)) for one, weight in zip(pool, weights, strict=True))
    test = examples("test", TEST, 2)
    sets = {
        f"raw-{step}": FeatureSet((train + step * 0.1).astype(np.float32), tests.astype(np.float32), kind)
        for step in (0, 8)
    }
    if kind != "gradient":
        sets = {"text": sets["raw-0"]}
    features = Features("synthetic", {}, examples_fingerprint(pool, test), sets)
    made = made if values is None else values(made)
    estimator = ExposureGp(link=link).fit(FitData(pool, test, LOSS, tuple(made), features=features))
    return estimator, np.exp(begin / 2), rates


def about(members, first, rates):
    """The question of every order of some members."""
    whole = np.broadcast_to(np.asarray(members), (1, STEPS, len(members)))
    typical = np.resize(np.asarray(members), (1, STEPS, BATCH))
    return Query(whole, rates[None], GRID, first[None], typical=typical)


@pytest.mark.parametrize("link", ["identity", "log", "odds"])
@pytest.mark.parametrize("kind", ["gradient", "embedding"])
def test_arrays_predict_what_the_estimator_predicts(link, kind):
    estimator, first, rates = fitted(kind, link)
    form = estimator.linear_form(about(range(POOL), first, rates))
    random = np.random.default_rng(0)
    for size in (1, 3, 6, 13, POOL):
        members = random.permutation(POOL)[:size]
        truth, found = estimator.predict(about(members, first, rates)), form.predict(members)
        spread = np.abs(truth.values[0] - form.average).std()
        assert np.abs(found.values - truth.values[0]).max() < 1e-3 * spread
        for level, bounds in truth.intervals.items():
            for ours, theirs in zip(found.intervals[level], bounds, strict=True):
                assert np.abs(ours - theirs[0]).max() < 1e-3 * spread
        assert found.novelty == pytest.approx(truth.novelty[0], abs=1e-3)


def test_examples_count_by_their_tokens():
    estimator, first, rates = fitted(weights=np.arange(POOL) % 4 + 1)
    form = estimator.linear_form(about(range(POOL), first, rates))
    members = np.array([2, 5, 7, 8])
    truth = estimator.predict(about(members, first, rates))
    assert form.weights.std() > 0
    np.testing.assert_allclose(form.predict(members).values, truth.values[0], rtol=1e-3)


def test_the_mean_over_all_orders_is_that_of_every_order():
    estimator, first, _ = fitted(link="identity")
    rates = np.zeros(STEPS)
    rates[:3] = 1.0
    # One example a step, three of them: six orders, each as likely as another.
    orders = np.full((6, STEPS, 1), -1)
    orders[:, :3, 0] = list(permutations([1, 4, 9]))
    six = Query(orders, np.broadcast_to(rates, (6, STEPS)), GRID, np.broadcast_to(first, (6, TEST)))
    every = np.full((1, STEPS, 3), -1)
    every[:, :3] = [1, 4, 9]
    one = Query(every, rates[None], GRID, first[None], typical=orders[:1])
    means = estimator.predict(six).values.mean(axis=0)
    np.testing.assert_allclose(estimator.predict(one).values[0], means, rtol=1e-6, atol=1e-9)


def test_the_spread_of_the_mean_is_that_of_a_plain_regression():
    """All deviations at the last step in one vector, with their whole covariance, as the model defines it."""
    estimator, first, rates = fitted(link="identity")
    model, members = estimator.model_, np.array([0, 3, 11])
    form = estimator.linear_form(about(range(POOL), first, rates))
    step, posterior = model.solved[-1]
    fitted_states = [one.copy() for one in model.states.last()]
    asked = model.recorded.curricula.like(about(members, first, rates).batches, rates[None])
    from gptfl.estimators.exposure_gp.process import states

    ((theirs, _),) = states(asked, GRID[-1:], model.states.examples, POOL)
    between, cross, own = np.zeros((8, 8)), np.zeros(8), 0.0
    for weight, unit, one, ours in zip(model.hyper.weights, step.units, theirs, fitted_states, strict=True):
        centred, apart = ours - ours.mean(axis=0), one[0] - ours.mean(axis=0)
        between += weight / unit * centred @ centred.T
        cross += weight / unit * centred @ apart
        own += weight / unit * apart @ apart
    columns = posterior.columns
    alike = (columns.vectors * columns.signal) @ columns.vectors.T
    noise = (columns.vectors * columns.noise) @ columns.vectors.T
    contrasts = np.linalg.qr(np.eye(8) - 1 / 8)[0][:, :7]
    strength = posterior.strength
    whole = np.kron(strength * contrasts.T @ between @ contrasts, alike) + np.kron(np.eye(7), noise)
    seen = np.kron(strength * (contrasts.T @ cross)[None], alike)
    left = strength * own * alike - seen @ np.linalg.solve(whole, seen.T)
    weights = step.size / TEST
    signal = posterior.variance * weights @ left @ weights
    chance = posterior.variance * weights @ noise @ weights * (1 + 1 / 8)
    found = form.predict(members)
    beside = (form.breadth.share * form.breadth.apart(form.recipe, 3)[-1] * form.breadth.lately[-1, -1]) ** 2
    scale = form.intervals.scale**2
    assert found.spread[-1] == pytest.approx(np.sqrt(scale * (signal + chance) + beside), rel=1e-3)
    assert found.effect_spread == pytest.approx(np.sqrt(scale * signal + beside), rel=1e-3)


def test_the_spread_of_a_difference_is_that_of_a_plain_regression():
    """The covariance of what two subsets do with all deviations at the last step, and their difference's variance."""
    estimator, first, rates = fitted(link="identity")
    model, subsets = estimator.model_, (np.array([0, 3, 11]), np.array([0, 5, 7, 11, 12]))
    form = estimator.linear_form(about(range(POOL), first, rates))
    step, posterior = model.solved[-1]
    from gptfl.estimators.exposure_gp.process import states

    recorded, asked = [one.copy() for one in model.states.last()], []
    for members in subsets:
        curricula = model.recorded.curricula.like(about(members, first, rates).batches, rates[None])
        ((found, _),) = states(curricula, GRID[-1:], model.states.examples, POOL)
        asked.append([one[0].copy() for one in found])
    between, cross, own = np.zeros((8, 8)), np.zeros(8), 0.0
    for weight, unit, ours, one, other in zip(model.hyper.weights, step.units, recorded, *asked, strict=True):
        centred, apart = ours - ours.mean(axis=0), one - other
        between += weight / unit * centred @ centred.T
        cross += weight / unit * centred @ apart
        own += weight / unit * apart @ apart
    columns = posterior.columns
    alike = (columns.vectors * columns.signal) @ columns.vectors.T
    noise = (columns.vectors * columns.noise) @ columns.vectors.T
    contrasts = np.linalg.qr(np.eye(8) - 1 / 8)[0][:, :7]
    whole = np.kron(posterior.strength * contrasts.T @ between @ contrasts, alike) + np.kron(np.eye(7), noise)
    seen = np.kron(posterior.strength * (contrasts.T @ cross)[None], alike)
    left = posterior.strength * own * alike - seen @ np.linalg.solve(whole, seen.T)
    weights = step.size / TEST
    signal = posterior.variance * weights @ left @ weights
    outside = [form.breadth.apart(form.recipe, len(one))[-1] for one in subsets]
    beside = form.breadth.share * (outside[0] - outside[1]) * form.breadth.lately[-1, -1]
    change, spread = form.difference(*subsets)
    assert spread == pytest.approx(np.sqrt(form.intervals.scale**2 * signal + beside**2), rel=1e-3)
    ends = [estimator.predict(about(one, first, rates)).values[0, -1].mean() for one in subsets]
    assert change == pytest.approx(ends[0] - ends[1], abs=1e-3 * spread)
    back, same = form.difference(*subsets[::-1])
    assert (back, same) == pytest.approx((-change, spread))
    assert form.difference(subsets[0], subsets[0]) == pytest.approx((0, 0), abs=1e-9)


def test_examples_that_count_otherwise_move_the_difference_as_they_do_predictions():
    estimator, first, rates = fitted(weights=np.arange(POOL) % 4 + 1)
    form = estimator.linear_form(about(range(POOL), first, rates))
    whole, rest = np.arange(POOL), np.arange(3, POOL)
    change, spread = form.difference(rest, whole)
    ends = [estimator.predict(about(one, first, rates)).values[0, -1].mean() for one in (rest, whole)]
    assert change == pytest.approx(ends[0] - ends[1], abs=1e-2 * spread)
    assert 0 < spread < form.predict(rest).effect_spread * 10


def test_what_is_not_linear_has_no_form():
    def repeated(runs):
        """The first run's subset once more, in another order."""
        own = runs[0].curriculum
        other = fill_batches(np.unique(own.batches), BATCH, STEPS, 99)
        values = {"loss": runs[0].metrics["loss"] * np.array([1.0, 1.01, 1.02, 1.03])[:, None]}
        return [*runs, Run(len(runs), 1, "fit", Curriculum(other, own.learning_rates), GRID, values)]

    estimator, first, rates = fitted(values=repeated)
    with pytest.raises(DataError, match="no linear form: recorded runs repeat one another"):
        estimator.linear_form(about(range(POOL), first, rates))
    estimator, first, rates = fitted()
    whole = about(range(POOL), first, rates)
    with pytest.raises(DataError, match="batches are of another size"):
        estimator.linear_form(replace(whole, typical=np.resize(np.arange(POOL), (1, STEPS, 5))))
    with pytest.raises(DataError, match="step sizes add up to others"):
        estimator.linear_form(about(range(POOL), first, rates / 3))


def test_no_subset_is_refused():
    estimator, first, rates = fitted()
    with pytest.raises(ValueError, match="the subset is empty"):
        estimator.linear_form(about(range(POOL), first, rates)).predict(np.array([], dtype=int))


@pytest.mark.parametrize("link", ["identity", "log"])
def test_targets_are_told_together(link):
    """Variances of single means as ``difference`` has them, covariances as those of sums and differences."""
    estimator, first, rates = fitted(link=link)
    mean = np.full(TEST, 1 / TEST)
    one, other = np.eye(TEST)[0], np.eye(TEST)[3]
    form = estimator.linear_form(
        about(range(POOL), first, rates), np.stack([mean, one, other, one + other, one - other])
    )
    members, others = np.array([0, 3, 11]), np.array([3, 5, 7, 12, 19])
    change = form.joint_change(members, others)
    truth, spread = form.difference(members, others)
    assert change.mean[0] == pytest.approx(truth)
    assert np.sqrt(change.covariance[0, 0]) == pytest.approx(spread)
    covariance = change.covariance
    np.testing.assert_allclose(covariance, covariance.T)
    assert covariance[1, 1] + covariance[2, 2] + 2 * covariance[1, 2] == pytest.approx(covariance[3, 3])
    assert covariance[1, 1] + covariance[2, 2] - 2 * covariance[1, 2] == pytest.approx(covariance[4, 4])
    assert np.linalg.eigvalsh(covariance).min() > -1e-9 * covariance.max()
    against_average = form.joint_change(members)
    ends = form.predict(members).values[-1]
    np.testing.assert_allclose(against_average.mean[0], (ends - form.average[-1]).mean())


def test_a_form_without_targets_tells_none_together():
    estimator, first, rates = fitted()
    form = estimator.linear_form(about(range(POOL), first, rates))
    with pytest.raises(ValueError, match="no targets"):
        form.joint_change(np.array([1]))
    with pytest.raises(ValueError, match="no targets"):
        form.joint_covariance(np.ones(POOL) / POOL, 0.0)
    form = estimator.linear_form(about(range(POOL), first, rates), np.full((1, TEST), 1 / TEST))
    with pytest.raises(ValueError, match="empty"):
        form.joint_change(np.array([], dtype=int))
