"""Draws of rows by their groups' shares."""

import numpy as np

from gptfl.core.curriculum import generator
from gptfl.influence.mixture import draw


def test_rows_are_drawn_without_replacement_as_many_as_asked():
    groups = [np.array([0, 2, 4]), np.array([1, 3, 5, 7])]
    one, again, other = (draw(groups, np.array([2, 3]), generator(5, 1, number)) for number in (0, 0, 1))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()
    assert len(set(one.tolist())) == 5
    assert sum(place % 2 == 0 for place in one.tolist()) == 2
