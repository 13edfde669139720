import math

import numpy as np
import pytest

from gptfl.scores.bootstrap import draw_weights, widening
from gptfl.scores.coverage import coverage
from gptfl.scores.sampling import RunDraws


def by_loop(low, high, recorded):
    inside, widths = [], []
    for run in range(recorded.shape[0]):
        for step in range(1, recorded.shape[1]):
            for test in range(recorded.shape[2]):
                truth = recorded[run, step, test]
                if not math.isnan(truth):
                    inside.append(low[run, step, test] <= truth <= high[run, step, test])
                    widths.append(high[run, step, test] - low[run, step, test])
    return sum(inside) / len(inside), sum(widths) / len(widths), len(inside)


def test_coverage_counts_as_a_plain_loop_does():
    random = np.random.default_rng(0)
    recorded = random.normal(size=(4, 5, 6))
    recorded[random.random(recorded.shape) < 0.3] = np.nan
    middle, half = random.normal(size=recorded.shape), random.uniform(0.1, 2, size=recorded.shape)
    found = coverage(middle - half, middle + half, recorded)
    assert (found.share, found.width, found.points) == pytest.approx(by_loop(middle - half, middle + half, recorded))


def test_a_point_on_a_bound_is_inside_and_the_first_counts_for_nothing():
    recorded = np.array([[[5.0], [1.0], [2.0], [3.0]]])
    found = coverage(np.full((1, 4, 1), 1.0), np.full((1, 4, 1), 2.0), recorded)
    assert (found.share, found.width, found.points) == (pytest.approx(2 / 3), 1.0, 3)


def test_without_recorded_points_nothing_is_reported():
    found = coverage(np.zeros((1, 2, 1)), np.ones((1, 2, 1)), np.array([[[1.0], [np.nan]]]))
    assert found.points == 0
    assert math.isnan(found.share)
    assert math.isnan(found.width)


def test_the_intervals_of_a_normal_law_hold_what_they_promise():
    random = np.random.default_rng(1)
    recorded = random.normal(size=(20, 11, 200))
    for level, z in ((0.5, 0.6744898), (0.9, 1.6448536)):
        found = coverage(np.full(recorded.shape, -z), np.full(recorded.shape, z), recorded)
        assert found.share == pytest.approx(level, abs=0.01)
        assert found.width == pytest.approx(2 * z)


def test_the_interval_of_the_share_draws_runs_and_not_points():
    random = np.random.default_rng(0)
    recorded = random.normal(size=(12, 4, 6))
    low, high = recorded - 1, recorded + 1
    high[:3] = low[:3] - 1  # three runs miss throughout
    weights = draw_weights(12, 0)
    found = coverage(low, high, recorded, RunDraws(weights, 11))
    assert found.share == 0.75
    points = np.sqrt(0.75 * 0.25 / found.points)
    assert found.interval[0] < 0.75 - 4 * points
    assert 0.75 + 4 * points < found.interval[1] <= 1.0
    drawn = weights @ np.repeat([0.0, 1.0], [3, 9]) / 12
    expected = 0.75 + widening(11) * (np.quantile(drawn, [0.025, 0.975]) - 0.75)
    assert found.interval == pytest.approx(tuple(np.clip(expected, 0, 1)))
    assert coverage(low, high, recorded).interval is None
