"""Examples that are made when they are asked for (those of a recording: tests/store/test_many_examples.py)."""

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.core.examples import weights_of
from gptfl.core.many_examples import ManyExamples, as_tuple, ids_of


def test_none_is_made_before_it_is_asked_for():
    asked = []

    def make(place):
        asked.append(place)
        return Example(f"e{place}", "p", "t", digest="d")

    many = ManyExamples(["e0", "e1", "e2"], ["d"] * 3, np.array([1, 2, 3]), make)
    assert (len(many), ids_of(many), list(weights_of(many))) == (3, ["e0", "e1", "e2"], [1, 2, 3])
    assert as_tuple(many) is many
    assert asked == []
    assert many[-2].id == "e1"
    assert [one.id for one in many[:2]] == ["e0", "e1"]
    assert asked == [1, 0, 1]
    assert [one.id for one in many] == ids_of(list(many)) == ["e0", "e1", "e2"]
    with pytest.raises(IndexError):
        many[3]
