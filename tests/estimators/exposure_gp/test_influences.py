"""The influence of training examples in closed form: its sign, and that on themselves takes gradients."""

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.influences import Influences
from gptfl.estimators.exposure_gp.target import TargetPosterior
from tests.estimators.exposure_gp.worlds import ACCURACY, LOSS, POOL, TEST, world


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


def test_influence_is_positive_where_it_betters_the_metric():
    for metric in (LOSS, ACCURACY):
        data, _ = world(metric=metric, own=0.0)
        vectors = {"raw-0": data.features.sets["raw-0"].train}
        found, spread = ExposureGp().fit(data).influence_of(np.arange(POOL), vectors, np.eye(TEST))
        aligned = data.features.sets["raw-0"].train @ data.features.sets["raw-0"].test.T
        assert np.corrcoef(found.ravel(), (aligned - aligned.mean(axis=0)).ravel())[0, 1] > 0.85
        assert (spread > 0).all()


def test_a_weighted_sum_that_is_asked_about_in_parts_is_worked_out_once(monkeypatch):
    data, _ = world(runs=5)
    fitted, one = ExposureGp().fit(data), data.features.sets["raw-0"]
    made = []
    plain = TargetPosterior.of
    monkeypatch.setattr(TargetPosterior, "of", lambda model, weights: made.append(weights) or plain(model, weights))
    weights = np.full(TEST, 1 / TEST)
    whole = fitted.influence_on_target(np.arange(POOL), {"raw-0": one.train}, weights)
    for start in range(0, POOL, 8):
        part = fitted.influence_on_target(np.arange(start, start + 8), {"raw-0": one.train[start : start + 8]}, weights)
        for found, of_all in zip(part, whole, strict=True):
            np.testing.assert_allclose(found, of_all[start : start + 8], rtol=1e-6, atol=1e-12)
    assert len(made) == 1
    weights[0] += 0.1  # what was asked about is kept as it was
    fitted.influence_on_target(np.arange(POOL), {"raw-0": one.train}, weights)
    assert len(made) == 2


def test_parts_of_a_test_example_are_told_by_their_own_gradients():
    for metric in (LOSS, ACCURACY):
        data, _ = world(runs=8, own=0.0, metric=metric)
        fitted, one = ExposureGp().fit(data), data.features.sets["raw-0"]
        parts = np.stack([one.test[3], -one.test[3], 2 * one.test[3]])
        found = fitted.first_order_of({"raw-0": one.train}, {"raw-0": parts}, 3)
        np.testing.assert_allclose(found[:, 1], -found[:, 0], rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(found[:, 2], 2 * found[:, 0], rtol=1e-4, atol=1e-8)
        # Who points the way of the loss's gradient lowers it, and raises what is better higher; less the average example.
        products = one.train @ one.test[3]
        assert np.corrcoef(found[:, 0], products)[0, 1] == pytest.approx(1.0)


def test_after_one_run_sums_and_groups_are_not_told_and_single_ones_are(exact_run, fitted_to_one):
    data, _ = exact_run
    count, tests = len(data.pool), len(data.test)
    assert fitted_to_one.influence_on_target(np.arange(count), {}, np.ones(tests)) is None
    assert fitted_to_one.influence_of_groups([], 1, np.ones(tests)) is None
    assert fitted_to_one.outlook_on_target([], np.ones(tests)) is None
    mean, spread = fitted_to_one.influence_of(np.arange(count), {}, np.eye(tests))
    assert mean.shape == spread.shape == (count, tests)
    assert fitted_to_one.has_self_influence


def test_one_that_was_not_fitted_says_so():
    for ask in (
        lambda one: one.influence_of(np.arange(2), {}, np.eye(2)),
        lambda one: one.influence_on_target(np.arange(2), {}, np.ones(2)),
        lambda one: one.influence_of_groups([], 1, np.ones(2)),
        lambda one: one.outlook_on_target([], np.ones(2)),
        lambda one: one.first_order_of({}, {}, 0),
        lambda one: one.self_influence(),
    ):
        with pytest.raises(DataError, match="exposure-gp"):
            ask(ExposureGp())


def test_influences_need_a_model_or_one_run_and_nothing_of_the_estimator_else():
    class Bare(Influences):
        single_ = None

    assert issubclass(ExposureGp, Influences)
    assert not Bare().has_self_influence
    taught, known = Bare(), ExposureGp().fit(world(runs=4)[0])
    taught.model_ = known.model_
    assert taught.has_self_influence
