"""The class of an example: the text of its choice, wherever the choice stands in its own list."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Classes, Example, class_numbers, classes_of, fingerprint, lack_of_classes, without_texts
from gptfl.errors import DataError

YES_NO = (" yes", " no")


def one(target: str, choices: tuple[str, ...] = YES_NO, task: str | None = None, name: str = "") -> Example:
    fields = {} if task is None else {"task": task}
    return Example(name or f"{task}{target}{choices}", "p", target, choices, choices.index(target), fields)


def test_equal_lists_are_numbered_by_their_labels() -> None:
    pool = [one(" no"), one(" yes"), one(" no")]
    assert classes_of(pool) == [("", example.label) for example in pool]
    assert np.array_equal(class_numbers(pool), [1, 0, 1])


def test_where_lists_are_in_another_order_the_text_is_the_class() -> None:
    pool = [one(" no", choices) for choices in (YES_NO, YES_NO[::-1]) * 3] + [one(" yes", YES_NO[::-1])]
    assert [example.label for example in pool] == [1, 0, 1, 0, 1, 0, 1]
    assert np.array_equal(class_numbers(pool), [1, 1, 1, 1, 1, 1, 0])
    assert Classes(pool).of(one(" yes")) == ("", 0)
    assert Classes(pool).of(one(" maybe", (" maybe", " no"))) is None


def test_choices_that_are_not_the_same_texts_make_no_classes() -> None:
    pool = [one(" no"), one(" Paris", (" Paris", " Rome"))]
    assert classes_of(pool) is None
    assert class_numbers(pool) is None
    assert lack_of_classes(pool) == ", since the choices are not the same texts in all"
    assert lack_of_classes([replace(pool[0], label=None)]) == ""
    assert classes_of([one(" no"), replace(one(" no"), choices=())]) is None


def test_in_a_mixture_a_task_whose_choices_differ_is_one_class() -> None:
    pool = [one(" no", task="a"), one(" x", (" x", " y"), "b"), one(" y", (" y", " z"), "b"), one(" yes", task="a")]
    assert classes_of(pool) == [("a", 1), ("b", None), ("b", None), ("a", 0)]
    assert np.array_equal(class_numbers(pool), [1, 2, 2, 0])
    assert [Classes(pool).name(kind) for kind in (("a", 1), ("b", None))] == ["a:no", "b"]
    assert classes_of(pool[1:3]) is None


def test_names_tell_classes_apart() -> None:
    choices = (" no", "no", " ")
    names = Classes([one(" no", choices)])
    assert [names.name(("", number)) for number in range(3)] == ["' no'", "no", "' '"]
    assert Classes([replace(one(" no"), choices=())]).name(("", 1)) == "1"


def test_without_texts_labels_are_numbers_of_classes() -> None:
    flipped = replace(one(" no", YES_NO[::-1]), fields={"flipped": True, "clean_label": 1})
    pool, test = without_texts([one(" no"), flipped], [one(" no", YES_NO[::-1])])
    assert [example.label for example in (*pool, *test)] == [1, 1, 1]
    assert pool[1].fields["clean_label"] == 0
    assert not any(example.choices for example in (*pool, *test))
    differ, _ = without_texts([one(" no"), one(" Paris", (" Paris", " Rome"))], [])
    assert [example.label for example in differ] == [None, None]


def test_without_texts_equal_lists_keep_their_labels() -> None:
    pool, test = [one(" no"), one(" yes")], [one(" yes"), one(" x", (" w", " x"))]
    bare, bare_test = without_texts(pool, test)
    assert bare == tuple(example.without_texts() for example in pool)
    assert [example.label for example in bare_test] == [0, None]
    unlabelled = [Example("a", "p", "t")]
    assert without_texts(unlabelled, test[:1])[1][0].label == 0


def test_half_a_character_is_refused_and_no_crash() -> None:
    with pytest.raises(DataError, match="half a character"):
        Example("a", "p\ud800", "t")
    with pytest.raises(DataError, match="half a character"):
        fingerprint({"a": ["\udfff"]})
