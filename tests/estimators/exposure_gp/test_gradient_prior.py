from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import (
    Curriculum,
    Features,
    FeatureSet,
    blocked_rows,
)
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts, lone_pair
from tests.estimators.exposure_gp.worlds import (
    POOL,
    TEST,
    about,
    exact,
    of_first,
    question,
    recorded,
    skill,
    world,
)

POINTS, TRAINED, TESTED = 3, 5, 4
AT = np.array([0, 8, 24])


def products(seed=0):
    random = np.random.default_rng(seed)
    raw, divided = random.normal(size=(2, POINTS, TRAINED, TESTED))
    divided[0] = np.nan
    return raw, divided, PriorProducts.of(AT, raw=raw, preconditioned=divided)


def test_the_first_order_is_minus_the_products_at_the_points_that_have_them():
    raw, divided, made = products()
    assert made.kinds["raw"].points.tolist() == [0, 8, 24]
    assert made.kinds["preconditioned"].points.tolist() == [8, 24]
    np.testing.assert_allclose(made.kinds["raw"].rows, -raw, rtol=1e-6)
    np.testing.assert_allclose(made.kinds["preconditioned"].rows, -divided[1:], rtol=1e-6)
    assert made.whole
    assert PriorProducts.of(AT, raw=raw, preconditioned=np.full_like(raw, np.nan)).kinds.keys() == {"raw"}


def test_each_kind_is_reported_along_its_points_and_by_its_last_alone():
    raw, divided, made = products()
    ways = made.ways()
    assert [way.points.tolist() for way in ways] == [[8, 24], [24], [0, 8, 24], [24]]
    np.testing.assert_allclose(ways[1].rows[0], -divided[2], rtol=1e-6)
    np.testing.assert_allclose(ways[3].rows[0], -raw[2], rtol=1e-6)
    single = PriorProducts.of(AT[:1], raw=raw[:1], preconditioned=divided[:1])
    assert [way.points.tolist() for way in single.ways()] == [[0]]


def test_all_examples_in_order_are_taken_without_a_copy():
    _, _, made = products()
    assert made.taken(np.arange(TRAINED), np.arange(TESTED)) is made
    assert made.taken(np.arange(TRAINED - 1), np.arange(TESTED)) is not made
    assert made.taken(np.arange(TRAINED)[::-1], np.arange(TESTED)) is not made


def test_a_lone_pair_is_found_some_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 64)
    rows = np.random.default_rng(0).normal(size=(1, 30, TESTED)).astype(np.float32)
    assert lone_pair((Vectors(AT[:1], rows),), np.ones(1)) is None
    rows[0, 17, 2] = -90.0
    train, test, times = lone_pair((Vectors(AT[:1], rows),), np.ones(1))
    assert (train, test) == (17, 2)
    assert times == pytest.approx(90.0 / np.median(np.abs(rows)))


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
    filled = made.taken(np.array([0, -1]), np.arange(TESTED)).filled(other.taken(np.arange(2), np.arange(TESTED)))
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
    assert PriorProducts.of(AT, raw=raw, preconditioned=divided).kinds["raw"].points.tolist() == [0, 24]


@pytest.mark.parametrize("steps", [[0, 8, 16], [0, 8]])
def test_products_match_only_at_the_same_points(steps):
    _, _, made = products()
    other = np.ones((len(steps), TRAINED, TESTED))
    assert not made.matches(PriorProducts.of(np.array(steps), raw=other, preconditioned=other))
    assert made.matches(products(3)[2])


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


def test_products_are_left_out_without_vectors_that_could_stand_in_for_them():
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


def test_a_pair_that_outweighs_all_others_is_found_where_it_counts():
    random = np.random.default_rng(0)
    rows = random.normal(size=(2, 6, 5)).astype(np.float32)
    rows[1, 4, 2] = -1e4
    plain, odd = (
        Vectors(np.array([0, 8]), random.normal(size=(2, 6, 5)).astype(np.float32)),
        Vectors(np.array([0, 8]), rows),
    )
    train, test, times = lone_pair([plain, odd], np.array([1.0, 0.5]))
    assert (train, test) == (4, 2)
    assert times == pytest.approx(1e4 / np.median(np.abs(rows[1])))
    assert lone_pair([plain, odd], np.array([1.0, 0.0])) is None, "what the model doesn't go by"
    assert lone_pair([plain], np.array([1.0])) is None
