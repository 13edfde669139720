import numpy as np
from scipy.stats import norm

from gptfl.influence.suspects import Sign, suspects_by


def test_the_mean_of_normal_scores_orders_them():
    signs = {"one": Sign("one", np.array([3.0, 1.0, 2.0, 0.0])), "two": Sign("two", np.array([10.0, 40.0, 20.0, 30.0]))}
    found = suspects_by(signs)
    quantiles = norm.ppf((np.arange(4) + 0.5) / 4)
    expected = {0: quantiles[[3, 0]], 1: quantiles[[1, 3]], 2: quantiles[[2, 1]], 3: quantiles[[0, 2]]}
    assert [one.row for one in found] == sorted(expected, key=lambda row: (-round(expected[row].mean(), 9), row))
    for one in found:
        assert np.isclose(one.score, expected[one.row].mean())
    assert found[0].row == 1
    assert found[0].ranks == {"one": 3, "two": 1}


def test_without_a_sign_nothing_is_suspect():
    assert suspects_by({}) == []
