"""Means of runs and how far these differ, where some lack values."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.process import STEPS
from gptfl.estimators.exposure_gp.spread import means, rows_that_move, spread_of

NAN = np.nan


def with_gaps(seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(5, 7, 3))
    values[random.random(values.shape) < 0.2] = NAN
    return values


def test_means_are_of_the_runs_that_have_a_value():
    values = with_gaps()
    np.testing.assert_allclose(means(values), np.nanmean(values, axis=0))


def test_where_no_run_has_one_the_mean_lies_between_its_neighbours():
    values = np.array([[[1.0], [NAN], [NAN], [4.0], [NAN]], [[3.0], [NAN], [NAN], [6.0], [NAN]]])
    np.testing.assert_allclose(means(values)[:, 0], [2, 3, 4, 5, 5])
    assert np.isnan(means(np.full((2, 3, 1), NAN))).all(), "of what nobody has, nothing is known"


def test_the_spread_is_the_mean_of_standard_deviations():
    values = with_gaps()
    np.testing.assert_allclose(spread_of(values), np.nanstd(values, axis=0).mean(axis=1))
    np.testing.assert_array_equal(spread_of(values[:1] * 0.0 + 1.0), 0.0)


@pytest.mark.parametrize("moving", [1, 3, STEPS, 3 * STEPS])
def test_rows_are_spread_over_those_at_which_runs_differ_and_have_the_last(moving):
    still, steps = 4, 4 + moving
    values = np.ones((3, steps, 2))
    values[:, still:] += np.random.default_rng(0).normal(size=(3, moving, 2))
    found = rows_that_move(steps, values)
    assert len(found) <= STEPS
    assert found == sorted(set(found))
    assert min(found) >= still
    assert found[-1] == steps - 1
    # None lies further from the next than an even spread asks for, to the nearest step.
    assert np.diff([still - 1, *found]).max() <= moving / min(STEPS, moving) + 1


def test_runs_that_never_differ_are_looked_at_where_they_end():
    # The mean of three tenths isn't quite a tenth.
    assert rows_that_move(6, np.full((3, 6, 2), 0.1)) == [5]
    assert rows_that_move(6, np.full((3, 6, 2), NAN)) == [5]
