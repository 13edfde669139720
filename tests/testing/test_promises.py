"""What every check shares: a promise that is kept passes, one that is broken is named."""

from typing import Any, Protocol

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.testing.promises import (
    refuses,
    require_close,
    require_equal,
    require_finite,
    require_members,
    require_name,
    through_json,
)


class Part:
    name = "größe"
    size = 3


class Sized(Protocol):
    name: str
    size: int


def test_members_and_name_are_there() -> None:
    require_members(Part(), Sized, ("name", "size"))
    with pytest.raises(AssertionError, match=r"^Part lacks load, save of Sized$"):
        require_members(Part(), Sized, ("name", "load", "save"))
    assert require_name(Part()) == "größe"
    for name in ("", None, 3):
        part = type("Other", (), {"name": name})()
        with pytest.raises(AssertionError, match=r"Other\.name is .*, not a name"):
            require_name(part)


@pytest.mark.parametrize("values", [{}, {"a": [1, None, True], "é": {"b": 0.1}}])
def test_what_comes_back_from_json_as_it_went_in(values: dict[str, Any]) -> None:
    assert through_json(values, "x") == values


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ([1], "x is list, not a mapping"),
        ({"a": float("nan")}, "x can't be written as JSON"),
        ({"a": np.ones(2)}, "x can't be written as JSON"),
        ({"a": (1, 2)}, "does not come back from JSON"),
        ({1: 2}, "does not come back from JSON"),
    ],
)
def test_what_json_changes_is_named(values: Any, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        through_json(values, "x")


def test_arrays_are_finite_floats() -> None:
    require_finite(np.zeros((0, 2), np.float32), "x")
    for wrong, broken in (
        (np.array([1.0, np.nan, np.inf]), "x holds 2 values that are not finite"),
        (np.arange(3), "x has dtype int64"),
        ([1.0], "x is list, not a numpy array"),
    ):
        with pytest.raises(AssertionError, match=broken):
            require_finite(wrong, "x")


def test_close_forgives_rounding_and_equal_nothing() -> None:
    one = np.array([1.0, 1000.0])
    other = one + np.array([1e-5, 1e-3])
    require_close(one, other, "moved")
    require_close(np.zeros((0, 2)), np.zeros((0, 2)), "moved")
    with pytest.raises(AssertionError, match=r"moved \(largest difference 0\.001\)"):
        require_equal(one, other, "moved")
    with pytest.raises(AssertionError, match=r"moved \(largest difference 50\)"):
        require_close(one, one + np.array([0, 50]), "moved")
    with pytest.raises(AssertionError, match=r"moved \(largest difference of shape: \(2,\) and \(1,\)\)"):
        require_equal(one, one[:1], "moved")
    require_equal(np.array([np.nan]), np.array([np.nan]), "moved")


def raising(error: Exception) -> Any:
    def action() -> None:
        raise error

    return action


def test_a_refusal_is_a_data_error_and_nothing_else() -> None:
    refuses(raising(DataError("a", "b")), "reading")
    with pytest.raises(AssertionError, match="reading raises ValueError rather than DataError: a"):
        refuses(raising(ValueError("a")), "reading")
    with pytest.raises(AssertionError, match="reading raises nothing, where DataError is promised"):
        refuses(lambda: None, "reading")
