import numpy as np
import pytest
from scipy import stats

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


def test_widening_is_students_quantile_and_the_spread_that_samples_lack():
    for freedom in (1, 5, 23):
        own = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975) * np.sqrt((freedom + 1) / freedom)
        assert bootstrap.widening(freedom) == pytest.approx(own)
    assert bootstrap.widening(10**7) == pytest.approx(1.0, abs=1e-4)
    assert bootstrap.widening(0) == float("inf")


def test_an_interval_is_the_widened_quantiles_about_the_score():
    factor = bootstrap.widening(9, level=0.9)
    got = bootstrap.interval(40.0, np.arange(101.0), 9, level=0.9)
    assert got == pytest.approx((40 + factor * (5 - 40), 40 + factor * (95 - 40)))
    assert bootstrap.interval(1.0, np.array([np.nan, 1.0]), 5) == (1.0, 1.0)
    assert bootstrap.interval(1.0, np.ones(9), 0) == (1.0, 1.0)
    assert np.isnan(bootstrap.interval(1.0, np.array([np.nan]), 5)).all()


def test_a_reflected_interval_lies_as_far_above_as_draws_lie_below():
    random = np.random.default_rng(0)
    scale, factor = bootstrap.correlation(), bootstrap.widening(23)
    draws = np.tanh(np.arctanh(0.9) - 0.2 + 0.15 * random.normal(size=2000))
    low, high = np.quantile(np.arctanh(draws), [0.025, 0.975]) - np.arctanh(0.9)
    got = bootstrap.interval(0.9, draws, 23, scale)
    assert np.arctanh(got) == pytest.approx([np.arctanh(0.9) - factor * high, np.arctanh(0.9) - factor * low])
    plain = bootstrap.interval(0.9, draws, 23)
    assert got[1] > plain[1] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("score", ["mse", "rho", "lds", "skill"])
def test_an_interval_contains_the_score_wherever_its_draws_lie(score):
    random = np.random.default_rng(0)
    for value in (-1.0, -0.2, 0.0, 0.5, 0.999, 1.0):
        for draws in (random.uniform(-1, 1, 50), np.full(50, 0.3), np.full(50, value), np.append(np.ones(9), 0.7)):
            low, high = bootstrap.interval(value, draws, 7, bootstrap.scale_of(score, 8, 3))
            assert low <= value <= high


def test_some_perfect_draws_do_not_reflect_to_the_other_end():
    draws = np.append(np.full(90, 0.98), np.ones(10))
    low, high = bootstrap.interval(0.985, draws, 11, bootstrap.scale_of("lds", 12, 4))
    assert 0.5 < low < 0.985 <= high < 1.0


def test_groups_of_runs_are_drawn_as_one():
    groups = np.array([4, 4, 7, 9, 9, 9])
    weights = bootstrap.draw_weights(6, 0, draws=200, groups=groups)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    alone = bootstrap.draw_weights(6, 0, draws=20, groups=np.arange(6))
    np.testing.assert_array_equal(alone, bootstrap.draw_weights(6, 0, draws=20))


def test_freedom_counts_groups_and_what_folds_take():
    runs = np.arange(12)
    assert bootstrap.freedom_of(runs) == 11
    assert bootstrap.freedom_of(runs // 2) == 5
    assert bootstrap.freedom_of(runs, runs % 3) == 9
    assert bootstrap.freedom_of(runs // 2, runs // 2 % 3) == 3
    assert bootstrap.freedom_of(runs // 2, runs // 2) == 5
    assert bootstrap.freedom_of(runs, np.zeros(12)) == 11


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
    more = hard + 1 + 0.1 * random.normal(size=20)
    weights = bootstrap.draw_weights(20, seed=0)
    first, second = ((float(x.mean()), bootstrap.weighted_means(x, weights)) for x in (more, hard))
    bounds = bootstrap.difference(first, second, 19)
    assert bounds[0] < 1.0 < bounds[1]
    assert bootstrap.is_clear(bounds)
    assert bootstrap.interval(*second, 19)[1] - second[0] > 1


@pytest.mark.parametrize("score", ["mse", "lds", "skill"])
def test_no_difference_is_not_clear(score):
    weights = bootstrap.draw_weights(8, seed=0)
    one = np.array([1.0, -1, 2, -2, 1, -1, 0.5, -0.5]) / 4
    mine, zero = (0.0, bootstrap.weighted_means(one, weights)), (0.0, np.zeros(len(weights)))
    scale = bootstrap.scale_of(score, 8, 1)
    assert not bootstrap.is_clear(bootstrap.difference(mine, zero, 7, scale))
    assert not bootstrap.is_clear(bootstrap.difference(mine, mine, 7, scale))


def test_an_unpaired_difference_resamples_both_sides() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1, 0.2, size=40), random.normal(0, 0.5, size=60)
    mean, (low, high) = bootstrap.unpaired_difference(first, second, 1)
    assert mean == pytest.approx(first.mean() - second.mean())
    error = np.sqrt(first.var() / 40 + second.var() / 60)
    assert (high - low) / 2 == pytest.approx(2.0 * error, rel=0.1)
    assert type(bootstrap.is_clear((low, high))) is bool
    same = np.ones(3)
    assert bootstrap.unpaired_difference(same, same[:2], 1) == (0.0, (0.0, 0.0))
    assert bootstrap.unpaired_difference(np.arange(3.0), same[:1], 1)[1][0] < -1
    assert bootstrap.unpaired_difference(first, second, 1) == (mean, (low, high))
