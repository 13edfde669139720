"""The order of a ranking."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.influence.ranking import Ranking


def ranking(influence: list[float]) -> Ranking:
    return Ranking("a", "a", "drop", np.array(influence), 4, Path("x"))


@pytest.mark.parametrize("seed", range(3))
def test_the_highest_comes_first_and_ties_stay_in_the_pools_order(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 5, size=40).astype(float)
    order = ranking(values.tolist()).order
    assert order == sorted(range(40), key=lambda place: (-values[place], place))
    assert all(type(place) is int for place in order), "they go into JSON"


def test_of_one_row_or_none_there_is_an_order_all_the_same() -> None:
    assert ranking([0.5]).order == [0]
    assert ranking([]).order == []
    assert ranking([-np.inf, 1.0, np.inf]).order == [2, 1, 0]
