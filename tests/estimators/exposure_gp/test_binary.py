import numpy as np
import pytest

from gptfl.estimators.exposure_gp.binary import likely, probability


def test_probability_is_that_of_jeffreys_prior_after_so_many_trials():
    np.testing.assert_allclose(probability(np.array([0.0, 0.25, 1.0]), 4), [0.5 / 5, 1.5 / 5, 4.5 / 5])
    # A linear regression may leave the range; nothing is certain.
    assert probability(np.array([-0.3]), 9) == pytest.approx(0.05)
    assert probability(np.array([1.2]), 9) == pytest.approx(0.95)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9])
def test_bounds_are_the_fewest_outcomes_that_are_probable_enough(level):
    chance = np.linspace(0.01, 0.99, 99)
    low, high = likely(chance, level)
    held = np.where(low == 0, 1 - chance, 0) + np.where(high == 1, chance, 0)
    assert (held >= level - 1e-12).all()
    alone = low == high
    np.testing.assert_array_equal(alone, np.maximum(chance, 1 - chance) >= level)
    np.testing.assert_array_equal(low[alone], chance[alone] >= 0.5)
    wide_low, wide_high = likely(chance, 0.95)
    assert (wide_low <= low).all()
    assert (high <= wide_high).all()
