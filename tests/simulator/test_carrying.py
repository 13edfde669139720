import numpy as np
import pytest

from gptfl.simulator.carrying import carried_over


def test_a_change_that_is_linear_in_the_first_value_is_carried_over_exactly():
    first = np.array([1.0, 1.5, 2.5, 3.0, 4.0])
    slopes = np.array([0.0, -0.2, -0.5])[:, None]
    known = first + slopes * first - np.array([0.0, 0.3, 0.1])[:, None]
    asked = np.array([[2.0, 3.5], [1.2, 1.7]])
    values = carried_over(known, asked)
    expected = asked[:, None] * (1 + slopes) - np.array([0.0, 0.3, 0.1])[:, None]
    # The least penalty among the candidates is still one.
    np.testing.assert_allclose(values, expected, atol=1e-3)
    np.testing.assert_array_equal(values[:, 0], asked)


def test_where_the_first_value_tells_nothing_all_change_alike():
    random = np.random.default_rng(0)
    first = random.normal(size=30)
    change = random.normal(size=(4, 30))
    change[0] = 0.0
    values = carried_over(first + change, np.array([[5.0, -5.0]]))
    np.testing.assert_allclose(values - np.array([5.0, -5.0]), np.repeat(change.mean(axis=1)[None, :, None], 2, axis=2))


def test_beyond_the_known_first_values_the_nearest_change_holds():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    known = np.stack([first, 0.5 * first])
    values = carried_over(known, np.array([[100.0, 4.0]]))
    assert values[0, 1, 0] - 100.0 == pytest.approx(values[0, 1, 1] - 4.0)


def test_one_known_example_lends_its_own_change():
    values = carried_over(np.array([[2.0], [1.5]]), np.array([[7.0]]))
    assert values[0, :, 0].tolist() == [7.0, 6.5]
