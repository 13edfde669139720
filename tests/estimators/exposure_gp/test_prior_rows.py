"""Gradient products that are read some rows at a time: the same fit and answers as with all of them in memory."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, blocked_rows
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.errors import DataError, ResourceError
from gptfl.estimators.exposure_gp import recorded as module
from gptfl.estimators.exposure_gp import seen_examples
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.blocked_states import BlockedStates
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts, lone_pair
from gptfl.estimators.exposure_gp.inputs import sources_of
from gptfl.estimators.exposure_gp.prior_rows import NegatedRows, UnreadProducts
from gptfl.estimators.through_loss.estimator import ThroughLoss
from tests.estimators.exposure_gp.worlds import (
    BATCH,
    CLOSE,
    POOL,
    STEPS,
    TEST,
    Held,
    about,
    exact,
    in_blocks,
    of_first,
    products_in_blocks,
    question,
    world,
)

AT = np.array([0, 6, 12])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of few rows, and no array of all pairs."""
    monkeypatch.setattr(seen_examples, "BLOCK_BYTES", 100)
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 100)


@pytest.fixture
def undense(monkeypatch):
    monkeypatch.setattr(BlockedProducts, "__array__", lambda *_: pytest.fail("all products were held at once"))


def path_world(runs=9, queried=3):
    """Products of two kinds at three points, and sketches of them with noise, along two paths."""
    data, asked = world(runs=runs, queried=queried)
    products, _ = exact(data)
    random = np.random.default_rng(2)
    raw = (products.raw + 0.2 * random.normal(size=(3, *products.raw.shape[1:]))).astype(np.float32)
    divided = (1.5 * raw + 0.1 * random.normal(size=raw.shape)).astype(np.float32)
    divided[0] = np.nan
    own = np.ones((3, POOL), np.float32)
    products = replace(products, steps=AT, raw=raw, preconditioned=divided, self_raw=own, self_preconditioned=own)
    one = data.features.sets["raw-0"]

    def near():
        sides = (side + 0.4 * random.normal(size=side.shape) for side in (one.train, one.test))
        return FeatureSet(*(side.astype(np.float32) for side in sides), "gradient")

    sets = {name: near() for name in ("raw-0", "raw-6", "raw-12", "split-6", "split-12")}
    return replace(data, features=replace(data.features, sets=sets), gradients=products), asked


def blocked(data, vectors):
    features = in_blocks(data.features) if vectors else data.features
    return replace(data, gradients=products_in_blocks(data.gradients), features=features)


def check_same(one, other):
    np.testing.assert_allclose(other.values, one.values, **CLOSE)
    np.testing.assert_allclose(other.novelty, one.novelty, rtol=2e-2, atol=1e-3)
    for level, bounds in one.intervals.items():
        for ours, theirs in zip(bounds, other.intervals[level], strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("vectors", [False, True])
def test_a_fit_and_its_answers_are_those_of_products_in_memory(undense, vectors):
    data, asked = path_world()
    dense, found = ExposureGp().fit(data), ExposureGp().fit(blocked(data, vectors))
    assert dense.model_.hyper.scales[:4].any(), "products count"
    assert isinstance(found.model_.states, BlockedStates)
    np.testing.assert_allclose(found.model_.hyper.weights, dense.model_.hyper.weights, rtol=5e-2)
    np.testing.assert_allclose(found.model_.hyper.scales, dense.model_.hyper.scales, rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(found.model_.interval_scale, dense.model_.interval_scale, rtol=5e-3)
    query = question(asked)
    for each in (query, replace(query, learning_rates=query.learning_rates / 2)):
        check_same(dense.predict(each), found.predict(each))
    places, weights = np.arange(POOL)[::-1], np.eye(TEST)
    rows = {name: one.train[places] for name, one in data.features.sets.items()}
    mean = np.full(TEST, 1 / TEST)
    groups = [(places, rows, places % 3)]
    for ask in (
        lambda one: one.influence_of(places, rows, weights),
        lambda one: one.influence_on_target(places, rows, mean),
        lambda one: one.influence_of_groups(groups, 3, mean),
    ):
        for ours, theirs in zip(ask(dense), ask(found), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_other_examples_are_answered_about_alike(undense, vectors, given):
    data, asked = path_world()
    pool, tests = POOL - 4, TEST - 3
    kept = np.arange(pool), np.arange(tests)
    some = of_first(replace(data, features=replace(data.features, sets=data.features.sets)), pool, tests)
    sets = {name: FeatureSet(one.train[:pool], one.test[:tests], one.kind) for name, one in data.features.sets.items()}
    runs = tuple(
        replace(run, curriculum=replace(run.curriculum, batches=run.curriculum.batches % pool)) for run in some.fit_runs
    )
    some = replace(
        some, fit_runs=runs, features=Features("s", {}, "", sets), gradients=data.gradients.of_examples(*kept)
    )
    query = about(question(asked), data, pool, tests)
    answers = []
    for change in (lambda one: one, lambda one: blocked(one, vectors)):
        fitted, whole = ExposureGp().fit(change(some)), change(data)
        unseen = replace(query.unseen, features=whole.features, gradients=whole.gradients if given else None)
        answers.append(fitted.predict(replace(query, unseen=unseen)))
    check_same(*answers)
    places, weights = np.array([3, -1, 0, -1]), np.eye(tests)
    rows = {name: one.train[[3, POOL - 1, 0, POOL - 2]] for name, one in data.features.sets.items()}
    dense, found = ExposureGp().fit(some), ExposureGp().fit(blocked(some, vectors))
    for ours, theirs in zip(
        dense.influence_of(places, rows, weights), found.influence_of(places, rows, weights), strict=True
    ):
        np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)


def test_parts_of_a_test_example_are_told_alike():
    data, _ = path_world()
    rows = {name: one.train for name, one in data.features.sets.items()}
    parts = {name: one.test[:2] for name, one in data.features.sets.items()}
    one, other = (ExposureGp().fit(each).first_order_of(rows, parts, 1) for each in (data, blocked(data, False)))
    np.testing.assert_allclose(other, one, rtol=2e-2, atol=2e-3)


def test_the_arrays_for_any_subset_are_told_alike():
    data, asked = path_world()
    run, members = asked[0], np.arange(POOL)
    every = np.broadcast_to(members, (1, STEPS, POOL))
    typical = np.resize(members, (1, STEPS, BATCH))
    query = replace(question([run]), batches=every, typical=typical)
    one, other = (ExposureGp().fit(each).linear_form(query) for each in (data, blocked(data, False)))
    for some in (members[:7], members[3:20]):
        np.testing.assert_allclose(other.predict(some).values, one.predict(some).values, **CLOSE)


@pytest.mark.parametrize("vectors", [False, True])
def test_a_simulator_keeps_no_products_and_takes_these_back(undense, vectors):
    data, asked = path_world()
    given = blocked(data, vectors)
    fitted, query = ExposureGp().fit(given), question(asked)
    state = fitted.state()
    assert not any(name.startswith("products:") for name in state)
    assert any(name.startswith("train:") for name in state) != vectors
    again = ExposureGp().restore({name: np.array(one) for name, one in state.items()})
    assert (again.lacks_products, again.lacks_vectors) == (True, vectors)
    if vectors:
        again.use_vectors(given.features)
    with pytest.raises(DataError, match=r"keeps no gradient products.*--dynamics"):
        again.predict(query)
    other = replace(given.gradients, self_raw=given.gradients.self_raw + 1)
    with pytest.raises(DataError, match="fitted to other gradient products than the recording holds"):
        again.use_products(other)
    again.use_products(given.gradients)
    assert not again.lacks_products
    one, two = fitted.predict(query), again.predict(query)
    np.testing.assert_array_equal(two.values, one.values)
    np.testing.assert_array_equal(two.intervals[0.9], one.intervals[0.9])
    assert {name: part.tobytes() for name, part in again.state().items()} == {
        name: part.tobytes() for name, part in state.items()
    }
    for name, wrong in (("points:raw", AT[::-1]), ("known:0", state["known:0"][1:]), ("points:raw", AT * 1.0)):
        with pytest.raises(DataError, match="fit it again"):
            ExposureGp().restore({**state, name: wrong})


def test_through_loss_hands_them_on():
    data, _ = path_world(runs=10)
    ends = {name: replace(data.metric, name=name, low=0.0, high=1.0) for name in ("share",)}
    runs = tuple(replace(run, metrics={**run.metrics, "share": np.exp(-run.metrics["loss"])}) for run in data.fit_runs)
    metric = replace(ends["share"], higher_is_better=True)
    given = blocked(replace(data, metric=metric, fit_runs=runs), False)
    again = ThroughLoss().restore(ThroughLoss().fit(given).state())
    assert again.lacks_products
    again.use_products(given.gradients)
    assert not again.lacks_products


def test_one_run_holds_them_or_says_what_that_takes(monkeypatch):
    data, asked = path_world(runs=1)
    given = blocked(data, True)
    one, other = (ExposureGp().fit(each).predict(question(asked[:1])) for each in (data, given))
    np.testing.assert_allclose(other.values, one.values)
    monkeypatch.setattr(module, "free_memory", lambda: 100)
    with pytest.raises(ResourceError, match=r"fitted to one run, holds .* in memory.*products=false"):
        ExposureGp().fit(given)


def test_points_that_are_not_finite_are_left_out_and_summed_up_otherwise():
    random = np.random.default_rng(0)
    raw = random.normal(size=(3, 30, 4))
    raw[1, 29, 3] = 1e300
    raw[2, 17, 2] = 50.0
    made = PriorProducts.of(
        AT, raw=as_products(BlockedProducts([Held(one) for one in raw])), preconditioned=raw * np.nan
    )
    (one,) = made.kinds.values()
    assert one.points.tolist() == [0, 12]
    assert (made.in_blocks, made.whole, made.lacking) == (True, True, False)
    summary = one.rows[1].summary
    np.testing.assert_allclose(summary.mean, -raw[2].mean(axis=0), rtol=1e-6, atol=1e-7)
    assert summary.squares == pytest.approx((raw[2] ** 2).sum())
    assert (summary.largest, summary.place) == (50.0, (17, 2))
    train, test, times = lone_pair([one], np.ones(1))
    assert (train, test) == (17, 2)
    assert times == pytest.approx(50.0 / np.median(np.abs(raw[2])), rel=1e-5)
    assert lone_pair([Vectors(AT[:1], as_products(BlockedProducts([one.rows[0]])))], np.ones(1)) is None
    assert lone_pair([one], np.zeros(1)) is None


def test_taken_filled_and_estimated_rows_are_those_in_memory():
    data, _ = path_world()
    raw, divided = data.gradients.raw, data.gradients.preconditioned
    lying = products_in_blocks(data.gradients)
    dense = PriorProducts.of(AT, raw=raw, preconditioned=divided)
    found = PriorProducts.of(AT, raw=lying.raw, preconditioned=lying.preconditioned)
    train, test = np.array([5, -1, 0, 23, 5]), np.array([2, -1, 0])
    others = PriorProducts.of(AT, raw=raw[:, :5, :3] + 1, preconditioned=divided[:, :5, :3] + 1)
    places = np.array([-1, 1, -1, -1, -1])
    sources = sources_of(data.features, POOL, TEST)
    vectors = {name: one.train[:5] for name, one in data.features.sets.items()}
    tests = {name: one.test[:3] for name, one in data.features.sets.items()}
    both = []
    for each in (dense, found):
        taken = each.taken(train, test)
        filled = taken.filled(others.taken(places, np.arange(3)))
        both.append((taken, filled, sources.estimated(vectors, tests, filled)))
    for one, other in zip(*both, strict=True):
        assert one.kinds.keys() == other.kinds.keys()
        assert not other.whole
        for name, theirs in one.kinds.items():
            ours = other.kinds[name].rows
            assert isinstance(ours, BlockedProducts)
            np.testing.assert_allclose(np.asarray(ours), theirs.rows, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(ours[0][np.array([4, 1, 1])], theirs.rows[0, [4, 1, 1]], rtol=1e-6, atol=1e-6)
    assert np.isfinite(both[1][2].kinds["raw"].rows[0].read(0, 5)).all()
    assert found.of_kinds({"raw"}).in_memory().kinds["raw"].rows.shape == raw.shape
    assert NegatedRows(raw[0]).usual() == pytest.approx(np.median(np.abs(raw[0])))


def test_products_that_were_not_given_again_are_named():
    with pytest.raises(DataError, match="keeps no gradient products"):
        UnreadProducts((3, 2)).take(np.array([1]))
