import numpy as np
import pytest

from gptfl.core.probability import probability


def test_probability_is_that_of_jeffreys_prior_after_so_many_trials():
    np.testing.assert_allclose(probability(np.array([0.0, 0.25, 1.0]), 4), [0.5 / 5, 1.5 / 5, 4.5 / 5])
    # A linear regression may leave the range; nothing is certain.
    assert probability(np.array([-0.3]), 9) == pytest.approx(0.05)
    assert probability(np.array([1.2]), 9) == pytest.approx(0.95)
