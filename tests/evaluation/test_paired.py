"""Pairs of trainings: their batches, and whether their difference is clear of noise."""

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.evaluation.paired import laid_out, noise_of
from gptfl.simulation.schedule import RunSchedule

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
ACCURACY = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)


def test_each_side_has_its_own_rows_and_the_order_is_one() -> None:
    recipe = RunSchedule(4, np.ones(9), np.array([0, 9]), None)
    one, other = np.array([0, 1, 2, 3, 4, 5, 6]), np.array([3, 4, 5, 6, 7, 8])
    union = np.union1d(one, other)
    ours, theirs = (laid_out(recipe.fill, union, side, 7) for side in (one, other))
    assert set(ours.ravel()) == set(one)
    assert set(theirs.ravel()) == set(other)
    whole = recipe.fill(union, 7)
    both = np.isin(whole, one) & np.isin(whole, other)
    np.testing.assert_array_equal(ours[both], theirs[both])
    np.testing.assert_array_equal(laid_out(recipe.fill, union, union, 7), whole)
    # Each row fills about as many places as any other.
    _, counts = np.unique(ours, return_counts=True)
    assert counts.max() - counts.min() <= 2


def test_a_run_too_short_for_any_of_a_sides_rows_islaid_out_alone() -> None:
    recipe = RunSchedule(1, np.ones(1), np.array([0, 1]), None)
    union = np.arange(40)
    (shown,) = recipe.fill(union, 3).ravel()
    side = np.setdiff1d(union, [shown])[:2]
    assert set(laid_out(recipe.fill, union, side, 3).ravel()) <= set(side)


def test_the_interval_is_students() -> None:
    changes = np.array([-0.3, -0.1, -0.2, -0.4])
    error, interval, verdict = noise_of(changes, LOSS)
    assert error == pytest.approx(np.sqrt(((changes - changes.mean()) ** 2).sum() / 3 / 4))
    # 2.353 is the 95 % quantile of Student's t with three degrees of freedom.
    assert interval == pytest.approx((-0.25 - 2.3534 * error, -0.25 + 2.3534 * error), rel=1e-4)
    assert verdict == "better"
    assert noise_of(changes, ACCURACY)[2] == "worse"
    assert noise_of(changes + 0.2, LOSS)[2] == "not clear"
    assert noise_of(changes[:1], LOSS) == (None, None, "one pair")


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = [noise_of(random.normal(size=3), LOSS)[2] == "not clear" for _ in range(2000)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
