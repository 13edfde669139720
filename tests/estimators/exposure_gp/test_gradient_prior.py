import numpy as np
import pytest

from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts

POINTS, POOL, TEST = 3, 5, 4
STEPS = np.array([0, 8, 24])


def products(seed=0):
    random = np.random.default_rng(seed)
    raw, divided = random.normal(size=(2, POINTS, POOL, TEST))
    divided[0] = np.nan
    return raw, divided, PriorProducts.of(STEPS, raw=raw, preconditioned=divided)


def test_what_is_foretold_is_minus_the_products_at_the_points_that_have_them():
    raw, divided, made = products()
    assert made.kinds["raw"].points.tolist() == [0, 8, 24]
    assert made.kinds["preconditioned"].points.tolist() == [8, 24]
    np.testing.assert_allclose(made.kinds["raw"].rows, -raw, rtol=1e-6)
    np.testing.assert_allclose(made.kinds["preconditioned"].rows, -divided[1:], rtol=1e-6)
    assert made.whole
    assert PriorProducts.of(STEPS, raw=raw, preconditioned=np.full_like(raw, np.nan)).kinds.keys() == {"raw"}


def test_each_kind_is_reported_along_its_points_and_by_its_last_alone():
    raw, divided, made = products()
    ways = made.ways()
    assert [way.points.tolist() for way in ways] == [[8, 24], [24], [0, 8, 24], [24]]
    np.testing.assert_allclose(ways[1].rows[0], -divided[2], rtol=1e-6)
    np.testing.assert_allclose(ways[3].rows[0], -raw[2], rtol=1e-6)
    single = PriorProducts.of(STEPS[:1], raw=raw[:1], preconditioned=divided[:1])
    assert [way.points.tolist() for way in single.ways()] == [[0]]


def test_examples_are_taken_by_their_places_and_strangers_are_unknown():
    raw, _, made = products()
    taken = made.taken(np.array([4, -1, 0]), np.array([-1, 2]))
    rows = taken.kinds["raw"].rows
    np.testing.assert_allclose(rows[:, [0, 2], 1], -raw[:, [4, 0], 2], rtol=1e-6)
    assert np.isnan(rows[:, 1]).all()
    assert np.isnan(rows[:, :, 0]).all()
    assert not taken.whole
    assert made.whole


def test_unknown_pairs_are_filled_from_others_and_no_others():
    _, _, made = products()
    _, _, other = products(1)
    filled = made.taken(np.array([0, -1]), np.arange(TEST)).filled(other.taken(np.arange(2), np.arange(TEST)))
    assert filled.whole
    for name, one in filled.kinds.items():
        np.testing.assert_array_equal(one.rows[:, 0], made.kinds[name].rows[:, 0])
        np.testing.assert_array_equal(one.rows[:, 1], other.kinds[name].rows[:, 1])


def test_some_kinds_alone():
    made = products()[2]
    assert made.of_kinds({"raw", "other"}).kinds.keys() == {"raw"}
    assert made.of_kinds(()).kinds == {}


def test_products_too_large_for_the_precision_kept_are_no_point():
    raw, divided, _ = products()
    raw[1, 0, 0] = 1e300
    assert PriorProducts.of(STEPS, raw=raw, preconditioned=divided).kinds["raw"].points.tolist() == [0, 24]


@pytest.mark.parametrize("steps", [[0, 8, 16], [0, 8]])
def test_products_match_only_at_the_same_points(steps):
    _, _, made = products()
    other = np.ones((len(steps), POOL, TEST))
    assert not made.matches(PriorProducts.of(np.array(steps), raw=other, preconditioned=other))
    assert made.matches(products(3)[2])
