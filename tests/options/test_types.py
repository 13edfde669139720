"""What the types of options take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.options.types import expected, listed, plain, read, taken


@pytest.mark.parametrize(
    ("kind", "simple", "item"),
    [
        (str, (str,), None),
        (bool | None, (bool,), None),
        (str | Path | bool | None, (str, Path), None),
        (str | Path | Sequence[str] | None, (str, Path), None),
        (tuple[str, ...], (str,), str),
        (tuple[str, ...] | Mapping[str, Any], (str,), str),
        (tuple[str | Path, ...] | None, (str, Path), str | Path),
        (str | int | None, (str, int), None),
    ],
)
def test_the_command_line_takes_the_plain_part_of_a_type(kind: Any, simple: tuple[type, ...], item: Any) -> None:
    assert (plain(kind), listed(kind)) == (simple, item)


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (int, np.int64(3), 3),
        (float, np.float64(0.5), 0.5),
        (float, 3, 3),
        (bool, np.True_, True),
        (Path, "x", Path("x")),
        (Path, Path("x"), Path("x")),
        (Sequence[str], {"a"}, {"a"}),
        (Mapping[str, Any], {"a": 1}, {"a": 1}),
    ],
)
def test_a_value_is_taken_as_python_has_it(kind: Any, value: Any, found: Any) -> None:
    assert taken(kind, value) == found
    assert type(taken(kind, value)) is type(found)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, True),
        (int, np.True_),
        (int, 1.0),
        (int, "1"),
        (float, "1"),
        (float, True),
        (float, 1j),
        (bool, 1),
        (bool, np.int64(1)),
        (str, b"x"),
        (str, Path("x")),
        (Path, 3),
        (Sequence[str], "a"),
        (Sequence[str], {"a": 1}),
        (Mapping[str, Any], ["a"]),
    ],
)
def test_a_value_of_another_type_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError):
        taken(kind, value)
    with pytest.raises(UsageError, match=r"^x is .*: give "):
        read([kind], value, "x")


def test_messages_name_a_path_where_no_text_will_do() -> None:
    assert expected([str, Path]) == "a text"
    assert expected([Path, int]) == "a path or a whole number"
    assert expected([str, Sequence[str]]) == "a text or a sequence"


def test_values_of_no_end_are_refused_too() -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    for value in (10**6000, nested):
        with pytest.raises(UsageError, match=r"^x is (int|list) of no end: give true or false$"):
            read([bool], value, "x")
