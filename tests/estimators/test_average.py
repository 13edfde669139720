import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.average import average, interpolate, resample


def test_same_grid_is_a_plain_mean():
    steps, values = np.array([0, 2, 5]), np.random.default_rng(0).normal(size=(4, 3, 2))
    grid, mean = average([steps] * 4, list(values))
    np.testing.assert_array_equal(grid, steps)
    np.testing.assert_allclose(mean, values.mean(axis=0))


def test_different_grids_are_joined_linearly_and_never_extended():
    grid, mean = average(
        [np.array([0, 4]), np.array([0, 2, 6])], [np.array([[0.0], [4.0]]), np.array([[2.0], [2.0], [10.0]])]
    )
    np.testing.assert_array_equal(grid, [0, 2, 4, 6])
    np.testing.assert_allclose(mean[:, 0], [1.0, 2.0, 5.0, 10.0])


def test_gaps_are_joined_and_ends_stay_unknown():
    values = np.array([[np.nan, 1.0], [2.0, np.nan], [4.0, 3.0]])
    got = resample(np.array([0, 1, 2]), values, np.array([0, 1, 2]))
    np.testing.assert_array_equal(got, [[np.nan, 1.0], [2.0, 2.0], [4.0, 3.0]])
    grid, mean = average([np.array([0, 1, 2])], [values])
    np.testing.assert_array_equal(grid, [1, 2])
    np.testing.assert_array_equal(mean, [[2.0, 2.0], [4.0, 3.0]])


def test_a_test_example_that_was_never_recorded_leaves_no_grid():
    grid, mean = average([np.array([0, 1])], [np.array([[np.nan, 1.0], [np.nan, 2.0]])])
    assert len(grid) == 0
    assert mean.shape == (0, 2)


def test_interpolation_of_any_shape():
    grid, values = np.array([0, 4, 6]), np.random.default_rng(0).normal(size=(3, 2, 2))
    got = interpolate(grid, values, np.array([0, 1, 4, 5, 6]))
    expected = [values[0], 0.75 * values[0] + 0.25 * values[1], values[1], (values[1] + values[2]) / 2, values[2]]
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(interpolate(grid[:1], values[:1], np.array([0])), values[:1])


@pytest.mark.parametrize("step", [1, 7])
def test_interpolation_refuses_what_was_not_recorded(step):
    with pytest.raises(DataError, match=f"step {step} is outside steps 2 to 6"):
        interpolate(np.array([2, 6]), np.zeros((2, 1)), np.array([step]))
