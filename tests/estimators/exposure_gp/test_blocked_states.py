"""A pool whose vectors are read some at a time: the same fit, predictions and influences as with all of them in memory."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, Unseen, blocked_rows
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp import seen_examples
from gptfl.estimators.exposure_gp.blocked_states import BlockedStates
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.worlds import (
    CLOSE,
    POOL,
    STEPS,
    TEST,
    Held,
    about,
    exact,
    in_blocks,
    of_first,
    question,
    world,
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of few rows, so that there are several."""
    monkeypatch.setattr(seen_examples, "BLOCK_BYTES", 100)


def along_a_path(data, kind="gradient"):
    """The data with vectors at several points of two paths, or as two plain sets."""
    random = np.random.default_rng(1)
    one = data.features.sets["raw-0" if "raw-0" in data.features.sets else "text"]

    def near(blur):
        return FeatureSet(
            *((x + blur * random.normal(size=x.shape)).astype(np.float32) for x in (one.train, one.test)), kind
        )

    names = ("raw-0", "raw-8", "raw-16", "split-4", "split-12") if kind == "gradient" else ("text", "more")
    sets = {name: near(0.3) for name in names}
    return replace(data, features=Features("synthetic", {}, data.features.examples, sets))


def weighted(data):
    """The data where examples count by the tokens of their targets."""
    return replace(data, pool=tuple(replace(one, weight=1 + i % 3) for i, one in enumerate(data.pool)))


def repeated(data):
    """The data where two runs see what others see, in another order."""
    runs = list(data.fit_runs)
    for place in (1, 3):
        model = runs[place - 1].curriculum
        turned = replace(model, batches=np.concatenate([model.batches[4:], model.batches[:4]]))
        runs[place] = replace(runs[place], curriculum=turned)
    return replace(data, fit_runs=tuple(runs))


def gappy(data):
    """The data where a run lacks a score."""
    runs = list(data.fit_runs)
    values = runs[0].metrics["loss"].copy()
    values[2, 1] = np.nan
    runs[0] = replace(runs[0], metrics={"loss": values})
    return replace(data, fit_runs=tuple(runs))


WORLDS = {
    "gradients": lambda data: along_a_path(data),
    "texts": lambda data: along_a_path(data, "embedding"),
    "weighted gradients": lambda data: weighted(along_a_path(data)),
    "weighted texts": lambda data: weighted(along_a_path(data, "embedding")),
    "repeats": lambda data: repeated(along_a_path(data)),
    "gaps": lambda data: gappy(along_a_path(data)),
    "products": lambda data: replace(data, gradients=exact(data)[0]),
}


def both(change, **settings):
    data, queried = world(runs=9, queried=3)
    data = change(data)
    blocked = replace(data, features=in_blocks(data.features))
    return ExposureGp(**settings).fit(data), ExposureGp(**settings).fit(blocked), data, queried


def check_same(one, other):
    np.testing.assert_allclose(other.values, one.values, **CLOSE)
    np.testing.assert_allclose(other.novelty, one.novelty, rtol=2e-2, atol=1e-3)
    for level, bounds in one.intervals.items():
        for ours, theirs in zip(bounds, other.intervals[level], strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("change", WORLDS.values(), ids=WORLDS)
def test_a_fit_and_its_answers_are_those_of_vectors_in_memory(change):
    dense, blocked, data, queried = both(change)
    np.testing.assert_allclose(blocked.model_.hyper.weights, dense.model_.hyper.weights, rtol=5e-2)
    np.testing.assert_allclose(blocked.model_.interval_scale, dense.model_.interval_scale, rtol=5e-3)
    check_same(dense.predict(question(queried)), blocked.predict(question(queried)))
    places, weights = np.arange(POOL), np.eye(TEST)
    vectors = {name: one.train for name, one in data.features.sets.items()}
    for ours, theirs in zip(
        dense.influence_of(places, vectors, weights), blocked.influence_of(places, vectors, weights), strict=True
    ):
        np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)
    mean = np.full(TEST, 1 / TEST)
    for ours, theirs in zip(
        dense.influence_on_target(places, vectors, mean),
        blocked.influence_on_target(places, vectors, mean),
        strict=True,
    ):
        np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("change", [WORLDS["gradients"], WORLDS["weighted texts"], WORLDS["repeats"]])
def test_questions_by_another_recipe_are_answered_alike(change):
    dense, blocked, _, queried = both(change)
    query = question(queried)
    check_same(*(one.predict(replace(query, learning_rates=query.learning_rates / 2)) for one in (dense, blocked)))


@pytest.mark.parametrize("change", [WORLDS["gradients"], WORLDS["weighted texts"]])
def test_questions_about_other_examples_are_answered_alike(change):
    dense, blocked, data, queried = both(change)
    random = np.random.default_rng(5)
    new = tuple(replace(one, id=f"new-{i}") for i, one in enumerate(data.pool[:2]))
    sets = {
        name: FeatureSet(
            np.concatenate([one.train, random.normal(size=(2, one.train.shape[1])).astype(np.float32)]),
            one.test,
            one.kind,
        )
        for name, one in data.features.sets.items()
    }
    pool = (*data.pool, *new)
    seen = np.append(np.arange(POOL), [-1, -1])
    query = question(queried)
    batches = query.batches.copy()
    batches[:, ::3, 0] = POOL + np.arange(len(batches))[:, None] % 2
    answers = []
    for fitted, change_features in ((dense, lambda one: one), (blocked, in_blocks)):
        features = change_features(Features("synthetic", {}, "", sets))
        unseen = Unseen(pool, data.test, seen, np.arange(TEST), features)
        answers.append(fitted.predict(replace(query, batches=batches, unseen=unseen)))
    check_same(*answers)


def test_products_of_new_test_examples_are_those_of_vectors_in_memory(monkeypatch):
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 100)
    monkeypatch.setattr(Held, "__array__", lambda *_: pytest.fail("all vectors were read at once"))
    tests = TEST - 3
    data, queried = world(runs=9, queried=3)
    products, sketched = exact(data, blur=0.3)
    rows = replace(products, raw=products.raw[..., :tests], preconditioned=products.preconditioned[..., :tests])
    some = replace(of_first(sketched, tests=tests), gradients=rows)
    query = about(question(queried), sketched, tests=tests)
    answers = []
    for change in (lambda one: one, in_blocks):
        fitted = ExposureGp().fit(replace(some, features=change(some.features)))
        unseen = replace(query.unseen, features=change(query.unseen.features))
        answers.append(fitted.predict(replace(query, unseen=unseen)))
    check_same(*answers)


def test_a_simulator_keeps_sums_and_no_vectors_and_takes_these_back():
    _, blocked, data, queried = both(WORLDS["gradients"])
    state, query = blocked.state(), question(queried)
    assert not any(name.startswith("train:") for name in state)
    again = ExposureGp().restore(state)
    assert again.lacks_vectors
    with pytest.raises(DataError, match=r"keeps no vectors of the training examples.*--embed-features"):
        again.predict(query)
    with pytest.raises(DataError, match="there is no feature set 'raw-0'"):
        again.use_vectors(in_blocks(along_a_path(data, "embedding").features))
    again.use_vectors(in_blocks(data.features))
    assert not again.lacks_vectors
    np.testing.assert_array_equal(again.predict(query).values, blocked.predict(query).values)
    assert {name: one.tobytes() for name, one in again.state().items()} == {
        name: one.tobytes() for name, one in state.items()
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sums:0", lambda one: one[1:]),
        ("sums:2", lambda one: one * np.nan),
        ("middles:0", lambda one: one[..., 1:]),
        ("mean:1", lambda one: one[:1]),
        ("own:cross", lambda one: one[:, 1:]),
        ("own:squares", lambda one: one.astype(np.int64)),
        ("centre:raw-0", lambda one: one[1:]),
    ],
)
def test_damaged_sums_are_refused_in_one_line(name, wrong):
    _, blocked, _, _ = both(WORLDS["gradients"])
    state = blocked.state()
    with pytest.raises(DataError, match="fit it again"):
        ExposureGp().restore({**state, name: wrong(state[name])})
    with pytest.raises(DataError, match="fit it again"):
        ExposureGp().restore({key: one for key, one in state.items() if key != name})


def test_vectors_that_are_not_finite_are_refused():
    data, _ = world(runs=4)
    one = data.features.sets["raw-0"]
    broken = one.train.copy()
    broken[-1, 0] = np.inf
    features = in_blocks(replace(data.features, sets={"raw-0": replace(one, train=broken)}))
    with pytest.raises(DataError, match="feature set 'raw-0' holds numbers that aren't finite"):
        ExposureGp().fit(replace(data, features=features))


def with_a_long_pair(features):
    """Gradients of which training example 5 and test example 2 have ones a hundred times as long."""
    one = features.sets["raw-0"]
    train, test = one.train.copy(), one.test.copy()
    train[5] *= 100
    test[2] *= 100
    return replace(features, sets={"raw-0": replace(one, train=train, test=test)})


@pytest.mark.parametrize("blocked", [False, True])
def test_every_fit_on_such_gradients_says_so_whether_it_goes_by_first_order_or_not(blocked):
    data, _ = world(runs=6)
    features = with_a_long_pair(data.features)
    data = replace(data, features=in_blocks(features) if blocked else features)
    fitted = ExposureGp().fit(data)
    model, named = fitted.model_, f"{data.pool[5].id!r} on {data.test[2].id!r}"
    (line,) = [note for note in fitted.notes_ if "gradients say" in note]
    assert named in line
    for scale, rests in ((1.0, "that rest on it; .* prior=false$"), (0.0, "how alike that makes .* features=false$")):
        model.hyper = replace(model.hyper, scales=np.full(model.states.ways, scale))
        (line,) = fitted.lone_pair_note(data)
        assert named in line
        assert re.search(rests, line)
    assert not [note for note in ExposureGp().fit(world(runs=6)[0]).notes_ if "gradients say" in note]


def test_one_pair_that_outweighs_all_others_is_named():
    data, _ = world(runs=6)
    features = with_a_long_pair(data.features)
    found = []
    for each in (features, in_blocks(features)):
        states = ExposureGp().fit(replace(data, features=each)).model_.states
        assert isinstance(states, BlockedStates) == each.in_blocks
        assert states.lone_pair(np.zeros(states.ways)) is None
        found.append(states.lone_pair(np.ones(states.ways)))
    assert found[0][:2] == found[1][:2] == (5, 2)
    assert found[1][2] > 1000
    dense = ExposureGp().fit(data).model_.states
    assert dense.lone_pair(np.ones(dense.ways)) is None


def test_a_single_run_is_fitted_all_the_same():
    data, queried = world(runs=1)
    blocked = replace(data, features=in_blocks(data.features))
    one, other = (ExposureGp().fit(each).predict(question(queried[:1])) for each in (data, blocked))
    np.testing.assert_allclose(other.values, one.values)
    assert queried[0].curriculum.steps == STEPS
