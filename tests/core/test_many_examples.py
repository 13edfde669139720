"""Examples that are made when they are asked for (those of a recording: tests/store/test_many_examples.py)."""

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.core.examples import class_numbers, classes_among, classes_of, weights_of
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


def test_what_is_told_of_all_is_told_once():
    asked, choices = [], (" yes", " no")

    def make(place):
        asked.append(place)
        return Example(f"e{place}", "p", choices[place % 2], choices, place % 2, digest="d")

    many = ManyExamples(["e0", "e1", "e2"], ["d"] * 3, None, make)
    listed = list(many)
    asked.clear()
    assert classes_of(many) == classes_of(listed) == [("", 0), ("", 1), ("", 0)]
    assert list(class_numbers(many)) == [0, 1, 0]
    assert classes_among(many).of(listed[1]) == ("", 1)
    assert classes_among(many) is classes_among(many)
    assert asked == [0, 1, 2] * 2, "once for what classes there are, once for each example's"
    assert many.once("count", len) == 3
    assert many.once("count", lambda _: 4) == 3
