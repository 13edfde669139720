import math

import numpy as np
import pytest
from scipy import stats

from gptfl.scores.bootstrap import DRAWS, widening
from gptfl.scores.ceiling import Ceiling, Doubt, doubt, lds_ceiling, noise_draws, order_noise, quantiles, skill_ceiling
from gptfl.scores.lds import lds
from gptfl.scores.pointwise import skill
from gptfl.scores.sampling import Sampling


def test_noise_is_the_variance_within_subsets():
    random = np.random.default_rng(0)
    repeats = [random.normal(size=(3, 4, 2)), random.normal(size=(2, 4, 2))]
    repeats[0][0, 1, 0] = np.nan
    found = order_noise(repeats)
    for step in range(4):
        for test in range(2):
            squares = freedom = 0.0
            for values in repeats:
                own = [v for v in values[:, step, test] if not math.isnan(v)]
                squares += sum((v - sum(own) / len(own)) ** 2 for v in own)
                freedom += len(own) - 1
            assert found[step, test] == pytest.approx(squares / freedom)
    assert np.isnan(order_noise([np.zeros((1, 2, 2))])).all()


def test_the_ceilings_are_what_the_true_means_reach():
    random = np.random.default_rng(1)
    runs, tests, spread = 3000, 4, 0.7
    means = random.normal(size=(runs, 1, tests))
    recorded = np.concatenate([np.zeros((runs, 1, tests)), means + spread * random.normal(size=means.shape)], axis=1)
    best = np.concatenate([np.zeros((runs, 1, tests)), means], axis=1)
    noise = np.full(recorded.shape, spread**2)
    mean_run = np.zeros_like(recorded)
    assert skill_ceiling(noise, recorded, mean_run) == pytest.approx(skill(best, recorded, mean_run), abs=0.02)
    groups = np.zeros(runs, dtype=int)
    assert lds_ceiling(noise, recorded, groups) == pytest.approx(lds(best, recorded, groups), abs=0.02)
    r = stats.pearsonr(best[:, 1, 0], recorded[:, 1, 0]).statistic
    assert lds_ceiling(noise[:, :, :1], recorded[:, :, :1], groups) == pytest.approx(
        6 / np.pi * np.arcsin(r / 2), abs=0.03
    )


def test_noise_alone_leaves_nothing_to_reach_and_unknown_noise_is_left_out():
    random = np.random.default_rng(2)
    recorded = random.normal(size=(50, 3, 2))
    groups = np.zeros(50, dtype=int)
    assert lds_ceiling(np.full(recorded.shape, 100.0), recorded, groups) == 0.0
    noise = np.full(recorded.shape, 0.25)
    noise[:, 1] = np.nan
    expected = 1 - 0.25 * 100 / (recorded[:, 2] ** 2).sum()
    assert skill_ceiling(noise, recorded, np.zeros_like(recorded)) == pytest.approx(expected)
    assert math.isnan(skill_ceiling(np.full(recorded.shape, np.nan), recorded, np.zeros_like(recorded)))


@pytest.mark.parametrize(("subsets", "orders"), [(1, 4), (2, 2), (5, 3)])
def test_draws_of_noise_with_one_common_factor_are_chi_square(subsets, orders):
    random = np.random.default_rng(0)
    way = random.normal(size=(3, 4))
    # The subsets' own sums must not differ by more than chi-square would: then they are spread as much.
    levels = np.linspace(-1, 1, orders)[:, None, None] * np.ones((subsets, 1, 1, 1))
    logs = noise_draws(list(levels * way), np.ones((3, 4)), seed=1)
    freedom = subsets * (orders - 1)
    for part in (0.025, 0.5, 0.975):
        expected = np.log(freedom / stats.chi2.ppf(1 - part, freedom))
        assert np.quantile(logs, part) == pytest.approx(expected, abs=0.15 + 0.1 * abs(expected))


def test_many_independent_points_leave_less_open_and_uneven_subsets_more():
    random = np.random.default_rng(0)
    weights = np.ones((1, 40))
    apart = [random.normal(size=(2, 1, 40)) for _ in range(6)]
    common = [random.normal(size=(2, 1, 1)) * np.ones((1, 1, 40)) for _ in range(6)]
    uneven = [size * one for size, one in zip((0.1, 0.2, 0.5, 1, 2, 5), apart, strict=True)]
    spreads = [noise_draws(one, weights, seed=0).std() for one in (apart, common, uneven)]
    assert spreads[0] < 0.5 * spreads[1]
    assert spreads[0] < 0.5 * spreads[2]
    assert (noise_draws([np.zeros((2, 1, 3))] * 3, np.ones((1, 3)), 0, draws=9) == 0).all()


def test_a_point_that_no_held_out_run_has_counts_for_nothing_and_gaps_are_left_out():
    random = np.random.default_rng(0)
    repeats = [random.normal(size=(3, 2, 5)) for _ in range(3)]
    weights = np.ones((2, 5))
    weights[1] = 0
    changed = [one.copy() for one in repeats]
    for one in changed:
        one[:, 1] *= 100
    np.testing.assert_allclose(noise_draws(changed, weights, 3), noise_draws(repeats, weights, 3))
    changed[0][1, 0, 2] = np.nan
    assert np.isfinite(noise_draws(changed, weights, 3)).all()


def test_the_draws_of_the_ceiling_are_those_of_the_noise_and_of_the_runs():
    random = np.random.default_rng(0)
    recorded = random.normal(size=(8, 3, 2))
    noise, mean_run = np.full(recorded.shape, 0.1), np.zeros_like(recorded)
    sampling = Sampling(np.arange(8), np.zeros(8, dtype=int), 2)
    logs = random.normal(size=DRAWS) / 5
    found = doubt(noise, recorded, mean_run, sampling, 4, logs)
    errors = (recorded[:, 1:] ** 2).sum(axis=(1, 2))
    assert found.share == pytest.approx(1 - skill_ceiling(noise, recorded, mean_run))
    for row, draw in list(zip(sampling.weights(4), range(DRAWS), strict=True))[:5]:
        moved = np.log(row.sum() * 0.4 / (row @ errors)) - np.log(found.share)
        assert found.logs[draw] == pytest.approx(logs[draw] + widening(7) * moved)
    assert found.skill()[0] == pytest.approx(1 - found.share * np.exp(found.logs[0]))
    plain = Doubt(np.zeros(3), found.share, found.tests).lds()
    assert plain == pytest.approx(lds_ceiling(noise, recorded, sampling.peers))
    assert doubt(0 * noise, recorded, mean_run, sampling, 4, logs) is None


def test_a_share_of_what_may_be_nothing_has_no_upper_end():
    sure = Doubt(np.zeros(100), 0.2, np.array([0.2]))
    low, high = sure.of_share("skill", 0.75, np.linspace(0.5, 0.7, 100))
    assert (low, high) == pytest.approx((0.5 / 0.8, 0.7 / 0.8), abs=0.01)
    unsure = Doubt(np.linspace(-1, 2.5, 100), 0.2, np.array([0.2]))
    low, high = unsure.of_share("skill", 0.75, np.full(100, 0.6))
    assert low == pytest.approx(0.6 / (1 - 0.2 * np.exp(-1)), rel=0.05)
    assert high == math.inf
    assert quantiles(np.array([0.1, 0.2]), 0.9) == (0.1, 0.9)


def test_a_ceiling_tells_its_intervals_for_files():
    document = Ceiling(0.9, None, 12, 6, (0.8, 0.95), None, Doubt(np.zeros(2), 0.1, np.zeros(0))).to_json()
    assert document == {
        "skill": 0.9,
        "skill_interval": [0.8, 0.95],
        "lds": None,
        "lds_interval": None,
        "runs": 12,
        "subsets": 6,
    }
