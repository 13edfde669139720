import numpy as np

from gptfl.estimators.exposure_gp.intervals import back_to_recorded, recorded_extremes

RECORDED = np.array([[[3.0, 5.0], [1.0, np.nan]], [[3.0, 5.0], [2.0, 4.0]]])
SEEN = np.array([1, -1, 0])


def test_extremes_are_those_of_each_test_example_and_of_what_was_observed():
    least, most = recorded_extremes(RECORDED, SEEN, None)
    np.testing.assert_array_equal(least, [4.0, -np.inf, 1.0])
    np.testing.assert_array_equal(most, [5.0, np.inf, 3.0])
    observed = np.full((1, 2, 3), np.nan)
    observed[0, 1] = [3.5, 9.0, np.nan]
    least, most = recorded_extremes(RECORDED, SEEN, observed)
    np.testing.assert_array_equal(least, [[[3.5, -np.inf, 1.0]]])
    np.testing.assert_array_equal(most, [[[5.0, np.inf, 3.0]]])


def test_only_bounds_of_predictions_beyond_all_of_them_reach_back():
    values, low, high = (np.array([[[one, 7.0, 2.0]]]) for one in (3.0, 2.9, 3.1))
    found = back_to_recorded(values, (low, high), recorded_extremes(RECORDED, SEEN, None))
    np.testing.assert_array_equal(found[0], low)
    np.testing.assert_array_equal(found[1], [[[4.0, 7.0, 2.0]]])
    found = back_to_recorded(values + 9.0, (low + 9.0, high + 9.0), recorded_extremes(RECORDED, SEEN, None))
    np.testing.assert_array_equal(found[0], [[[5.0, 16.0, 3.0]]])
