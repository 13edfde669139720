"""Examples that are made when they are asked for are those that are made at once; damaged ones are refused in one line."""

import h5py
import numpy as np
import pytest

from gptfl.core import Example, examples_fingerprint
from gptfl.core.examples import weights_of
from gptfl.core.many_examples import ManyExamples, ids_of
from gptfl.core.turns import Turn
from gptfl.errors import DataError
from gptfl.store import examples as stored
from gptfl.store import hdf5
from gptfl.store import many_examples as module
from gptfl.store.examples import get_examples, put_examples
from gptfl.store.many_examples import read_many

TURNS = (Turn("user", "Wo ist mein Paket?", False), Turn("assistant", "Unterwegs – morgen.", True))


def made(weights=True):
    return (
        Example(
            "a", "Frage: é\n", " ja", (" ja", " nein"), 0, {"source": "x", "n": [1, 2]}, weight=3 if weights else None
        ),
        Example.of_turns("b", TURNS, {"id": "other", "digest": "other", "weight": 9})
        if not weights
        else Example("b", '"{', "\\", weight=4),
        Example('c"7', "", "", digest="0123456789abcdef", weight=5 if weights else None),
    )


def kept(path, lines):
    with h5py.File(path, "w") as file:
        hdf5.put_lines(file.create_group("examples"), "pool", lines)
    return path


@pytest.mark.parametrize("weights", [True, False])
def test_they_are_those_that_are_made_at_once(tmp_path, monkeypatch, weights):
    monkeypatch.setattr(stored, "MANY", 3)
    given = made(weights)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("examples")
        put_examples(group, "pool", given)
        few, many = get_examples(group, "pool"), get_examples(group, "pool", 3)
    assert isinstance(few, tuple)
    assert isinstance(many, ManyExamples)
    # The file is closed by now.
    assert tuple(many) == few == given
    assert many[-1] == given[-1]
    assert many[1:] == given[1:]
    assert (*many, *given) == (*given, *given)
    assert ids_of(many) == [one.id for one in given]
    assert examples_fingerprint(many, given) == examples_fingerprint(given, given)
    ours, theirs = weights_of(many), weights_of(given)
    assert (ours is None) == (theirs is None) == (not weights)
    if weights:
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(IndexError):
        many[3]


GOOD = {"id": "a", "prompt": "p", "target": "t", "choices": [], "label": None, "fields": {}, "digest": "d"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD, {**GOOD, "id": 7}], "holds what is no example"),
        ([GOOD, {"id": "b"}], "holds what is no example"),
        ([GOOD, [1]], "holds what is no example"),
        ([GOOD, GOOD], "has the id 'a' twice"),
    ],
)
def test_what_is_no_example_is_refused_before_any_is_made(tmp_path, lines, message):
    with h5py.File(kept(tmp_path / "a.h5", lines)) as file, pytest.raises(DataError, match=message) as caught:
        get_examples(file["examples"], "pool", stored.MANY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompt": 7}, "pool line 2 is no example"),
        ({"label": 99_999}, "has the label 99999 of 10000 classes"),
        ({}, "the text of 'b' is not that of its digest"),
    ],
)
def test_a_damaged_example_is_refused_when_it_is_asked_for(tmp_path, more, message):
    digest = Example("b", "p", "t").digest if more else "d"
    lines = [{**GOOD, "digest": Example("a", "p", "t").digest}, {**GOOD, "id": "b", "digest": digest, **more}]
    with h5py.File(kept(tmp_path / "a.h5", lines)) as file:
        many = get_examples(file["examples"], "pool", stored.MANY)
    assert many[0].prompt == "p"
    with pytest.raises(DataError, match=message):
        many[1]


def test_of_more_than_a_recording_may_have_none_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    path = kept(tmp_path / "a.h5", [GOOD, {**GOOD, "id": "b"}])
    with h5py.File(path) as file, pytest.raises(DataError, match="has more than 1 examples"):
        read_many(file["examples"], "pool", "here", lambda row, where: row)


def test_a_line_without_end_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        hdf5.put_array(file.create_group("examples"), "pool", np.frombuffer(b'{"id": "a"}', np.uint8))
        with pytest.raises(DataError, match="a line without end"):
            get_examples(file["examples"], "pool", stored.MANY)
