"""Products that are read in blocks, or computed from sketches: the same answers as with all of them in memory."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT, TEST, VALIDATION, Features, FeatureSet, FitData, GradientProducts, MetricInfo, blocked_rows
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows, as_array
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl_tracin import predictive
from gptfl_tracin.predictive import GradDot, TracInCP
from gptfl_tracin.products import largest_share

LOSS = MetricInfo("loss", higher_is_better=False)
DYNAMICS = testing.make_dynamics(gradients=True, steps=12)
QUERY = testing.make_query(DYNAMICS.with_role(TEST))
WIDTH = 6
SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (TracInCP, {}),
    (TracInCP, {"preconditioned": True, "calibrate": True}),
    (TracInCP, {"interpolate": True, "checkpoints": 2, "calibrate": True}),
    (GradDot, {"preconditioned": True}),
]


class Held(BlockedRows):
    """Rows in memory that are only given some at a time; no more than a block of them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, (array.shape[0], array.shape[1]), array.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        assert (stop - start) * self.shape[1] * self.dtype.itemsize <= blocked_rows.BLOCK_BYTES
        return self.array[start:stop]

    def take(self, places: np.ndarray) -> np.ndarray:
        assert len(places) * self.shape[1] * self.dtype.itemsize <= blocked_rows.BLOCK_BYTES
        return self.array[places]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 100)


def data(**changes: Any) -> FitData:
    runs = DYNAMICS.with_role(FIT), DYNAMICS.with_role(VALIDATION)
    return FitData(DYNAMICS.pool, DYNAMICS.test, LOSS, *runs, **changes)


def recorded() -> GradientProducts:
    assert DYNAMICS.gradients is not None
    return DYNAMICS.gradients


def in_blocks(gradients: GradientProducts) -> GradientProducts:
    sides = {
        name: as_products(BlockedProducts([Held(one) for one in getattr(gradients, name)]))
        for name in ("raw", "preconditioned")
    }
    return dataclasses.replace(gradients, **sides)


def sketched(dtype: Any = np.float32) -> Features:
    """Sketches at three steps, ``split`` at two of them."""
    random = np.random.default_rng(4)

    def drawn() -> FeatureSet:
        shapes = (len(DYNAMICS.pool), WIDTH), (len(DYNAMICS.test), WIDTH)
        return FeatureSet(*(random.normal(size=shape).astype(dtype) for shape in shapes), "gradient")

    names = ("raw-0", "raw-4", "raw-8", "split-4", "split-8", "text")
    return Features("gradients", {}, DYNAMICS.examples, {name: drawn() for name in names})


def blocked_sketches(features: Features) -> Features:
    sets = {name: dataclasses.replace(one, train=as_array(Held(one.train))) for name, one in features.sets.items()}
    return dataclasses.replace(features, sets=sets)


def products_of(features: Features) -> GradientProducts:
    """The products of these sketches as if they had been recorded, along a run as long as those fitted."""
    steps, rates = np.array([0, 4, 8]), np.mean([run.curriculum.learning_rates for run in data().fit_runs], axis=0)

    def multiplied(kind: str, product: Any) -> np.ndarray:
        one = features.sets["raw-0"]
        nothing = product(FeatureSet(np.full_like(one.train, np.nan), one.test))
        found = [features.sets.get(f"{kind}-{step}") for step in steps]
        return np.stack([nothing if one is None else product(one) for one in found])

    def pairs(one: FeatureSet) -> np.ndarray:
        return one.train.astype(float) @ one.test.T.astype(float)

    def own(one: FeatureSet) -> np.ndarray:
        return (one.train.astype(float) ** 2).sum(axis=1)

    return GradientProducts(
        0, steps, rates, *(multiplied(kind, what) for what in (pairs, own) for kind in ("raw", "split"))
    )


def check_same(one: Any, other: Any, rtol: float) -> None:
    np.testing.assert_allclose(other.predict(QUERY).values, one.predict(QUERY).values, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(other.influence(), one.influence(), rtol=rtol, atol=rtol)
    for tests in (np.arange(len(DYNAMICS.test)), np.array([2]), np.array([4, 1, 1])):
        expected = one.influence()[:, tests].mean(axis=1)
        for each in (one, other):
            np.testing.assert_allclose(each.mean_influence(tests), expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(other.self_influence(), one.self_influence(), rtol=rtol, atol=rtol)
    assert other.scale_ == pytest.approx(one.scale_, rel=rtol)


@pytest.mark.parametrize(("factory", "settings"), SETTINGS)
def test_recorded_products_in_blocks_say_what_those_in_memory_do(factory: Any, settings: dict[str, Any]) -> None:
    dense = factory(**settings).fit(data(gradients=recorded()))
    blocked = factory(**settings).fit(data(gradients=in_blocks(recorded())))
    check_same(dense, blocked, 1e-9)
    assert "products" not in blocked.state()
    again = factory(**settings).restore(blocked.state())
    assert (again.lacks_products, again.lacks_vectors) == (True, False)
    with pytest.raises(DataError, match="keeps no gradient products"):
        again.predict(QUERY)
    again.use_products(in_blocks(recorded()))
    assert not again.lacks_products
    np.testing.assert_array_equal(again.predict(QUERY).values, blocked.predict(QUERY).values)


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize(("factory", "settings"), SETTINGS)
def test_products_of_sketches_say_what_they_would_had_they_been_recorded(
    factory: Any, settings: dict[str, Any], blocked: bool
) -> None:
    features = sketched()
    dense = factory(**settings).fit(data(gradients=products_of(features)))
    given = blocked_sketches(features) if blocked else features
    found = factory(**settings, sketches=True)
    assert (found.tags.requires, found.tags.prefers) == ({"features"}, ("gradients",))
    assert found.settings()["sketches"] is True
    found.fit(data(features=given))
    check_same(dense, found, 1e-4)
    assert found.points_.steps.tolist() == dense.points_.steps.tolist()
    assert f"are those of sketches of {WIDTH} numbers" in found.notes_[0]
    again = factory(**settings, sketches=True).restore(found.state())
    assert (again.lacks_products, again.lacks_vectors) == (False, blocked)
    if blocked:
        assert not {"train", "test"} & found.state().keys()
        again.use_vectors(given)
    np.testing.assert_array_equal(again.predict(QUERY).values, found.predict(QUERY).values)


def test_sketches_divided_on_one_side_meet_the_plain_ones() -> None:
    features = sketched()
    sets = {name.replace("split", "preconditioned"): one for name, one in features.sets.items() if name != "raw-0"}
    fitted = GradDot(preconditioned=True, sketches=True).fit(data(features=dataclasses.replace(features, sets=sets)))
    own = np.einsum("pd,pd->p", sets["preconditioned-8"].train, sets["raw-8"].train)
    np.testing.assert_allclose(fitted.points_.itself[0], own, rtol=1e-5)


def test_what_is_no_sketch_is_refused() -> None:
    features = sketched()
    text = dataclasses.replace(features, sets={"text": features.sets["text"]})
    with pytest.raises(DataError, match=r"tracin-cp finds no sketches of gradients .*: run gptfl featurize --encoder"):
        TracInCP(sketches=True).fit(data(features=text))
    raw = dataclasses.replace(features, sets={"raw-0": features.sets["raw-0"]})
    with pytest.raises(DataError, match="no sketches of preconditioned gradients"):
        TracInCP(sketches=True, preconditioned=True).fit(data(features=raw))
    broken = features.sets["raw-0"].train.copy()
    broken[3, 1] = np.nan
    one = dataclasses.replace(features.sets["raw-0"], train=broken)
    with pytest.raises(DataError, match="numbers that aren't finite"):
        TracInCP(sketches=True).fit(data(features=dataclasses.replace(features, sets={"raw-0": one})))
    with pytest.raises(UsageError, match="sketches is 'yes'"):
        GradDot(sketches="yes")  # type: ignore[arg-type]
    fitted = TracInCP(sketches=True).fit(data(features=features))
    with pytest.raises(DataError, match="fitted to other sketches"):
        fitted.use_vectors(raw)
    state = dict(fitted.state())
    for name, wrong in (("train", np.zeros(3)), ("test", state["test"][:, :, :2]), ("test", state["test"][:1])):
        with pytest.raises(DataError, match="fit it again"):
            TracInCP(sketches=True).restore({**state, name: wrong})
    with pytest.raises(DataError, match="'shape' is missing or ill-shaped"):
        TracInCP(sketches=True).restore({**state, "shape": np.array([-1, 2])})


def test_all_pairs_are_refused_where_they_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = TracInCP().fit(data(gradients=in_blocks(recorded())))
    monkeypatch.setattr(predictive, "free_memory", lambda: 8 * 10 * 5 - 1)
    with pytest.raises(ResourceError, match=r"tracin-cp: influence on each of 5 test examples takes .*: ask about"):
        fitted.influence()
    assert fitted.mean_influence(np.arange(5)).shape == (10,)


def test_the_share_of_the_largest_product_is_found_in_blocks() -> None:
    array = np.random.default_rng(0).normal(size=(30, 4))
    expected = (array**2).max() / (array**2).sum()
    assert largest_share(array) == pytest.approx(expected)
    assert largest_share(Held(array)) == pytest.approx(expected)
    assert largest_share(np.zeros((3, 2))) == 0.0
