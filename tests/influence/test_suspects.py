from statistics import NormalDist

import numpy as np
import pytest

from gptfl.influence.suspects import suspects_by


def test_the_mean_of_normal_scores_orders_them():
    signs = {"one": np.array([3.0, 1.0, 2.0, 0.0]), "two": np.array([10.0, 40.0, 20.0, 30.0])}
    found = suspects_by(signs)
    low, below, above, high = (NormalDist().inv_cdf((place + 0.5) / 4) for place in range(4))
    expected = {1: (below + high) / 2, 0: (high + low) / 2, 2: (above + below) / 2, 3: (low + above) / 2}
    assert [one.row for one in found] == [1, 0, 2, 3]
    for one in found:
        assert one.score == pytest.approx(expected[one.row], abs=1e-9)
    assert found[0].ranks == {"one": 3, "two": 1}


def test_without_a_sign_nothing_is_suspect():
    assert suspects_by({}) == []
