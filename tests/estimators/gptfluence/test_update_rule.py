import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.update_rule import UpdateRule, mean_rate

BATCHES = np.array([[0, 1], [2, -1], [-1, -1], [1, 1]])
RATES = np.array([1.0, 3.0, 9.0, 2.0])


def test_counts_are_weighted_by_relative_step_sizes() -> None:
    counts = UpdateRule(2, rate=2.0).counts(BATCHES[None], RATES[None], np.array([0, 1, 3, 4]), 3)
    np.testing.assert_allclose(counts.dense(3), [[0.5, 0.5, 0], [0, 0, 1.5], [0, 2, 0]])
    np.testing.assert_allclose(counts.turned(3).dense(3), counts.dense(3).T)
    np.testing.assert_allclose(counts.totals(), [1.0, 1.5, 2.0])
    assert UpdateRule(2).counts(BATCHES[None], RATES[None], np.array([0, 4]), 3).weights is None


def test_a_step_without_its_learning_rate_is_refused() -> None:
    for rates in (None, RATES[None, :2], np.full((1, 4), np.nan)):
        with pytest.raises(DataError, match="lacks its learning rate"):
            UpdateRule(2, rate=1.0).counts(BATCHES[None], rates, np.array([0, 4]), 3)


def test_the_mean_rate_is_of_batches_between_recorded_steps() -> None:
    assert mean_rate([BATCHES, BATCHES], [RATES, RATES], [np.array([0, 2]), np.array([2, 4])]) == 2.0
    for rates in (0 * RATES, RATES * np.nan):
        with pytest.raises(DataError, match=r"the mean learning rate .*: leave out step_size"):
            mean_rate([BATCHES], [rates], [np.array([0, 4])])
