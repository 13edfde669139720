import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gptfl.scores.ranks import spearman, weighted_spearman

numbers = st.lists(st.integers(-3, 3), min_size=3, max_size=12)


@given(numbers, st.randoms(use_true_random=False))
def test_spearman_matches_scipy_with_many_ties(x, random):
    y = [random.randint(-3, 3) for _ in x]
    expected = 0.0
    if len(set(x)) > 1 and len(set(y)) > 1:
        expected = stats.spearmanr(x, y).statistic
    assert spearman(np.array(x, float), np.array(y, float)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_repetitions(seed):
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 5, 10).astype(float), random.normal(size=10)
    weights = random.integers(0, 4, size=(10, 6))
    got = weighted_spearman(x, y, weights.astype(float))
    for draw in range(6):
        repeated = np.repeat(np.arange(10), weights[:, draw])
        assert got[draw] == pytest.approx(stats.spearmanr(x[repeated], y[repeated]).statistic)


def test_nothing_varies_is_undefined_and_counts_zero():
    x = np.arange(4.0)
    assert np.isnan(weighted_spearman(x, x, np.array([[3.0], [0.0], [0.0], [0.0]]))[0])
    assert spearman(x, np.ones(4)) == 0.0
    assert spearman(np.array([]), np.array([])) == 0.0
