import math

import numpy as np
import pytest
from scipy import stats

from gptfl.scores.ceiling import lds_ceiling, order_noise, skill_ceiling
from gptfl.scores.lds import lds
from gptfl.scores.pointwise import skill


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
