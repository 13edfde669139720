import numpy as np
import pytest

from gptfl.core import blocked_rows
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.inputs import Sides, Sources, check_vectors
from tests.estimators.exposure_gp.worlds import Held

POOL, TEST, WIDTH = 5, 3, 4


def sides(seed, gradient=True, width=WIDTH):
    random = np.random.default_rng(seed)
    return Sides(random.normal(size=(POOL, width)), random.normal(size=(TEST, width)), gradient)


def gradients():
    names = ("raw-0", "raw-24", "raw-9", "preconditioned-9", "preconditioned-24")
    return {name: sides(number) for number, name in enumerate(names)}


def unknown(points):
    """Products of which none is known."""
    rows = np.full((len(points), POOL, TEST), np.nan, np.float32)
    return PriorProducts({kind: Vectors(points, rows.copy()) for kind in ("raw", "preconditioned")})


def test_gradient_sets_are_points_of_two_paths_in_the_order_of_their_steps():
    # An embedding that happens to be called so is no gradient.
    sources = Sources.of({**gradients(), "text": sides(9, False, 2), "raw-7": sides(8, False, 6)})
    assert sources.paths == (
        ((0, "raw-7"),),
        ((0, "text"),),
        ((9, "preconditioned-9"), (24, "preconditioned-24")),
        ((0, "raw-0"), (9, "raw-9"), (24, "raw-24")),
    )
    assert sources.last == "raw-24"
    found = sources.of_fitted()
    assert [vectors.points.tolist() for vectors in found] == [[0], [0], [9, 24], [0, 9, 24]]
    np.testing.assert_allclose(found[3].rows[1], sources.sets["raw-9"].train, atol=1e-6)


def test_other_sets_are_centred_on_the_pool_fitted_and_gradients_are_not():
    sources = Sources.of({"text": sides(0, False), "raw-0": sides(1)})
    text, raw = sources.of_fitted()
    np.testing.assert_allclose(text.rows[0].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(raw.rows[0], sources.sets["raw-0"].train, atol=1e-6)
    others = {"text": np.ones((2, WIDTH)), "raw-0": np.ones((2, WIDTH))}
    text, raw = sources.vectors(others)
    np.testing.assert_allclose(text.rows[0], 1 - np.repeat(sources.centres["text"][None], 2, axis=0), atol=1e-6)
    np.testing.assert_array_equal(raw.rows[0], 1)


def test_a_gradient_set_of_another_name_is_like_any_other():
    sources = Sources.of({"of-adapters": sides(0)})
    assert sources.last is None
    np.testing.assert_allclose(sources.of_fitted()[0].rows[0].mean(axis=0), 0, atol=1e-6)
    assert sources.expected(sources.of_fitted(), sources.test_sides) == ()
    assert sources.recent(sources.of_fitted()) is None


def test_expected_changes_are_minus_the_products_with_the_last_test_gradients_of_the_path():
    sources = Sources.of({**gradients(), "text": sides(9, False)})
    expected = sources.expected(sources.of_fitted(), sources.test_sides)
    assert len(expected) == 4
    for path in ("raw", "preconditioned"):
        found = [same(vectors, sources, path, sources.sets[f"{path}-24"].test) for vectors in expected]
        assert sum(found) == 2


def same(vectors, sources, path, test):
    """Whether these are the products of a path's training gradients, at its points, with the test gradients."""
    sets = [sources.sets.get(f"{path}-{point}") for point in vectors.points]
    if None in sets:
        return False
    looped = [[[-float(np.dot(one, other)) for other in test] for one in each.train] for each in sets]
    return np.allclose(vectors.rows, looped, atol=1e-5)


def test_a_loss_falls_where_gradients_align():
    one = Sides(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), True)
    sources = Sources.of({"raw-0": one})
    for vectors in sources.expected(sources.of_fitted(), sources.test_sides):
        assert vectors.rows[0, 0].tolist() == [-2.0, 2.0, 0.0]


def test_gradients_split_between_the_sides_say_best_how_alike_test_examples_are():
    sets = gradients() | {"split-9": sides(20), "split-24": sides(21)}
    sources = Sources.of(sets)
    assert sources.last == "split-24"
    np.testing.assert_array_equal(sources.test_vectors(sources.test_sides), sets["split-24"].test)
    fitted = sources.of_fitted()
    recent = sources.recent(fitted)
    np.testing.assert_allclose(recent.rows[1], sets["split-24"].train, atol=1e-6)
    correlations = [
        one
        for one in sources.expected(fitted, sources.test_sides)
        if same(one, sources, "split", sets["split-24"].test)
    ]
    assert len(correlations) == 2


def test_levels_are_the_lengths_of_raw_test_gradients_along_the_run():
    sources = Sources.of({**gradients(), "text": sides(9, False), "split-24": sides(21)})
    found = sources.levels(sources.test_sides)
    expected = [[np.log(np.sqrt((row**2).sum())) for row in sources.sets[f"raw-{step}"].test] for step in (0, 9, 24)]
    np.testing.assert_allclose(found, np.transpose(expected))
    assert Sources.of({"text": sides(9, False), "split-24": sides(21)}).levels({}) is None
    many = Sources.of({f"raw-{step}": sides(step) for step in range(11)})
    ends = many.levels(many.test_sides)
    assert ends.shape == (TEST, 4)
    np.testing.assert_allclose(ends[:, -1], np.log(np.linalg.norm(many.sets["raw-10"].test, axis=1)))


def test_what_tells_test_examples_apart():
    assert Sources({}).test_vectors({}) is None
    sources = Sources.of({**gradients(), "text": sides(9, False)})
    given = {name: one.test + 1 for name, one in sources.sets.items()}
    np.testing.assert_array_equal(sources.test_vectors(given), given["raw-24"])
    plain = Sources.of({"b": sides(1, False, 2), "a": sides(2, False)})
    fitted = plain.test_vectors({name: one.test for name, one in plain.sets.items()})
    assert fitted.shape == (TEST, WIDTH + 2)
    # Each set weighs the same, whatever its scale.
    for columns in (slice(0, WIDTH), slice(WIDTH, None)):
        assert np.mean((fitted[:, columns] ** 2).sum(axis=1)) == pytest.approx(1.0)


def test_vectors_that_do_not_fit_are_reported():
    sources = Sources.of({"text": sides(0, False)})
    places = np.array([0, -1])
    assert check_vectors(sources, {"text": np.ones((2, WIDTH))}, places) is None
    assert check_vectors(sources, {}, places) == "there is no feature set 'text'"
    assert (
        check_vectors(sources, {"text": np.ones((2, 3))}, places) == "feature set 'text' has shape (2, 3), not (2, 4)"
    )
    assert "(3, 4), not (2, 4)" in check_vectors(sources, {"text": np.ones((3, WIDTH))}, places)


def test_products_of_vectors_stand_in_at_the_nearest_points():
    sources = Sources.of({**gradients(), "text": sides(9, False)})
    like = unknown(np.array([10, 30]))
    train = {name: one.train for name, one in sources.sets.items()}
    found = sources.estimated(train, sources.test_sides, like).kinds
    for kind, one in found.items():
        assert one.points.tolist() == [10, 30]
        for row, step in zip(one.rows, (9, 24), strict=True):
            sides_there = sources.sets[f"{kind}-{step}"]
            np.testing.assert_allclose(row, -sides_there.train @ sides_there.test.T, rtol=1e-5, atol=1e-6)
    assert found.keys() == {"raw", "preconditioned"}


def test_an_examples_product_with_itself_is_that_of_the_last_point():
    split = Sources.of({"split-9": sides(0), "split-24": sides(1), "raw-24": sides(2), "text": sides(9, False)})
    np.testing.assert_allclose(split.itself(), (split.sets["split-24"].train ** 2).sum(axis=1))
    divided = Sources.of({"preconditioned-24": sides(1), "raw-9": sides(2)})
    np.testing.assert_allclose(divided.itself(), (divided.sets["preconditioned-24"].train ** 2).sum(axis=1))
    assert Sources.of({"text": sides(9, False)}).itself() is None


def test_split_vectors_stand_in_for_preconditioned_products_before_others():
    sources = Sources.of({"split-9": sides(0), "preconditioned-9": sides(1)})
    like = unknown(np.array([9]))
    train = {name: one.train for name, one in sources.sets.items()}
    found = sources.estimated(train, sources.test_sides, like).kinds
    one = sources.sets["split-9"]
    np.testing.assert_allclose(found["preconditioned"].rows[0], -one.train @ one.test.T, rtol=1e-5, atol=1e-6)
    assert np.isnan(found["raw"].rows).all()


class Taken(Held):
    """Rows in memory that put down which of them were read."""

    def __init__(self, array):
        super().__init__(array)
        self.taken = []

    def take(self, places):
        self.taken.append(places.tolist())
        return super().take(places)


def test_unknown_products_alone_are_read_for_some_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 2 * 4 * WIDTH)
    sources = Sources.of({"raw-9": sides(0), "split-9": sides(1)})
    known = unknown(np.array([9]))
    recorded = np.random.default_rng(3).normal(size=(POOL, TEST)).astype(np.float32)
    gaps = np.zeros((POOL, TEST), bool)
    gaps[[0, 4], 1] = gaps[1, 2] = True
    for one in known.kinds.values():
        one.rows[0] = np.where(gaps, np.nan, recorded)
    train = {name: Taken(one.train) for name, one in sources.sets.items()}
    found = sources.estimated(train, sources.test_sides, known).kinds
    for kind, name in (("raw", "raw-9"), ("preconditioned", "split-9")):
        one = sources.sets[name]
        expected = np.where(gaps, -one.train @ one.test.T, recorded)
        np.testing.assert_allclose(found[kind].rows[0], expected, rtol=1e-5, atol=1e-6)
        assert train[name].taken == [[0, 1], [4]]
        assert np.isnan(known.kinds[kind].rows[0][gaps]).all()
