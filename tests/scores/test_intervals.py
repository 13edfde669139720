"""Intervals hold the true value about as often as they say, where percentiles of draws don't."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "intervals.py"


@pytest.fixture(scope="module")
def intervals():
    spec = importlib.util.spec_from_file_location("intervals", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Of 80 intervals that hold in 95 % of cases, fewer than 66 hold with a chance of 1e-5.
TIMES, FEWEST = 80, 66 / 80


@pytest.mark.parametrize(
    ("pearson", "shape", "plain_at_most"),
    [
        (0.9, {"runs": 24, "folds": 4, "correlation": 0.0}, 0.85),
        (0.98, {"runs": 16, "folds": 1, "correlation": 0.5}, 0.7),
        (0.9, {"runs": 24, "folds": 4, "together": 2}, 1.0),
        (0.0, {"runs": 10, "folds": 1, "correlation": 0.9}, 1.0),
    ],
)
def test_the_interval_of_lds_holds_the_true_value(intervals, pearson, shape, plain_at_most):
    ours, plain = intervals.holds(
        lambda random: intervals.lds_trial(random, pearson, tests=6, draws=200, **shape), TIMES
    )
    assert ours >= FEWEST
    assert plain <= plain_at_most


def test_runs_that_belong_together_drawn_apart_would_be_too_sure(intervals):
    shape = {"runs": 24, "tests": 4, "together": 4, "draws": 200}
    groups = [intervals.lds_trial(np.random.default_rng(seed), 0.5, **shape) for seed in range(20)]
    spread = np.mean([np.nanstd(drawn) for _, _, drawn, _, _ in groups])
    alone = [intervals.lds_trial(np.random.default_rng(seed), 0.5, **{**shape, "together": 1}) for seed in range(20)]
    assert spread > 1.3 * np.mean([np.nanstd(drawn) for _, _, drawn, _, _ in alone])
    ours, _ = intervals.holds(lambda random: intervals.lds_trial(random, 0.5, **shape), TIMES)
    assert ours >= FEWEST


@pytest.mark.parametrize(("left", "runs", "factors"), [(0.07, 8, 3), (1.2, 16, 3), (0.5, 24, 10)])
def test_the_interval_of_skill_holds_the_true_value(intervals, left, runs, factors):
    ours, plain = intervals.holds(
        lambda random: intervals.skill_trial(random, left, runs=runs, factors=factors, draws=200), TIMES
    )
    assert ours >= max(FEWEST, plain)


def test_the_interval_of_a_share_inside_holds_the_true_share(intervals):
    ours, plain = intervals.holds(lambda random: intervals.inside_trial(random, 0.9, runs=12, draws=200), TIMES)
    assert ours >= max(FEWEST, plain)


@pytest.mark.parametrize(("subsets", "orders"), [(6, 2), (1, 4)])
@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_the_intervals_of_ceilings_hold_the_true_ones(intervals, subsets, orders, noise):
    random = np.random.default_rng(0)
    inside, width = np.zeros(2), 0.0
    for _ in range(TIMES):
        trial = intervals.ceiling_trial(random, noise, subsets=subsets, orders=orders, tests=6, draws=200)
        inside += [low <= true <= high for true, (low, high) in trial]
        width += (trial[0][1][1] - trial[0][1][0]) / TIMES
    assert (inside / TIMES >= FEWEST).all()
    # As wide as chi-square with these degrees of freedom, at three ways to vary, would have it.
    assert 0.5 * noise < width < 12 * noise
