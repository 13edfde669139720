import numpy as np
import pytest

from gptfl.scores import bootstrap, pointwise


def test_draws_are_seeded_and_hold_as_many_runs():
    weights = bootstrap.draw_weights(7, seed=3, draws=50)
    np.testing.assert_array_equal(weights, bootstrap.draw_weights(7, seed=3, draws=50))
    assert (weights != bootstrap.draw_weights(7, seed=4, draws=50)).any()
    np.testing.assert_array_equal(weights.sum(axis=1), np.full(50, 7))


def test_weighted_means_match_resampled_means():
    per_run = np.array([1.0, np.nan, 3.0, 4.0])
    weights = np.array([[1.0, 1, 1, 1], [2, 1, 0, 1], [0, 4, 0, 0]])
    got = bootstrap.weighted_means(per_run, weights)
    np.testing.assert_allclose(got[:2], [8 / 3, 2.0])
    assert np.isnan(got[2])


def test_interval_takes_the_central_quantiles():
    assert bootstrap.interval(np.arange(101.0), level=0.9) == pytest.approx((5.0, 95.0))
    assert bootstrap.interval(np.array([np.nan, 1.0])) == (1.0, 1.0)
    assert np.isnan(bootstrap.interval(np.array([np.nan]))).all()


def test_skill_draws_match_the_score_of_resampled_runs():
    random = np.random.default_rng(0)
    predicted, recorded, mean_run = random.normal(size=(3, 6, 4, 5))
    weights = bootstrap.draw_weights(6, seed=0, draws=10)
    got = bootstrap.skill_draws(
        pointwise.squared_errors(predicted, recorded), pointwise.squared_errors(mean_run, recorded), weights
    )
    for draw in range(10):
        chosen = np.repeat(np.arange(6), weights[draw].astype(int))
        assert got[draw] == pytest.approx(pointwise.skill(predicted[chosen], recorded[chosen], mean_run[chosen]))


def test_a_paired_difference_sees_what_separate_intervals_hide():
    random = np.random.default_rng(1)
    hard = random.uniform(0, 100, size=20)
    weights = bootstrap.draw_weights(20, seed=0)
    mean, bounds = bootstrap.paired_difference(hard + 1 + 0.1 * random.normal(size=20), hard, weights)
    assert mean == pytest.approx(1.0, abs=0.1)
    assert bounds[0] < mean < bounds[1]
    assert bootstrap.is_clear(bounds)
    assert bootstrap.interval(bootstrap.weighted_means(hard, weights))[1] - hard.mean() > 1


def test_no_difference_is_not_clear():
    weights = bootstrap.draw_weights(8, seed=0)
    difference = np.array([1.0, -1, 2, -2, 1, -1, 0.5, -0.5])
    assert not bootstrap.is_clear(bootstrap.paired_difference(difference, np.zeros(8), weights)[1])
    assert not bootstrap.is_clear(bootstrap.paired_difference(difference, difference, weights)[1])


def test_an_unpaired_difference_resamples_both_sides() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1, 0.2, size=40), random.normal(0, 0.5, size=60)
    mean, (low, high) = bootstrap.unpaired_difference(first, second, 1)
    assert mean == pytest.approx(first.mean() - second.mean())
    error = np.sqrt(first.var() / 40 + second.var() / 60)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert bootstrap.unpaired_difference(first, second, 1) == (mean, (low, high))
