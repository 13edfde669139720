from statistics import NormalDist

import numpy as np
import pytest

from gptfl.influence.suspects import suspects_by


def test_what_signs_say_against_a_row_orders_them():
    signs = {"one": np.array([3.0, 1.0, 2.0, 0.0]), "two": np.array([10.0, 40.0, 20.0, 30.0])}
    found = suspects_by(signs)
    above, high = (NormalDist().inv_cdf((place + 0.5) / 4) for place in (2, 3))
    chance = 1.0 / np.sqrt(2.0 * np.pi)
    expected = {0: high / 2 - chance, 1: high / 2 - chance, 2: above / 2 - chance, 3: above / 2 - chance}
    assert [one.row for one in found] == [0, 1, 2, 3]
    for one in found:
        assert one.score == pytest.approx(expected[one.row], abs=1e-9)
    assert found[1].ranks == {"one": 3, "two": 1}


def test_without_a_sign_nothing_is_suspect():
    assert suspects_by({}) == []
