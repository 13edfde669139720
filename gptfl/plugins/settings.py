"""Reads and checks the settings that a part's factory is given: ``--set NAME=VALUE`` can be anything.

Each check takes who is asked (as messages call it: "estimator gptfluence"), the setting's name and the
value, and gives the value back in its proper type, or raises ``UsageError`` naming all three and
what is allowed.
"""

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from gptfl.errors import UsageError

PYTHON: Mapping[str, Any] = {"True": True, "False": False, "None": None}
"""What Python writes otherwise than JSON does."""


def check_utf8(text: str, flag: str) -> None:
    """Raise ``UsageError`` for a name or path that is not UTF-8, which neither settings nor tokenizers can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "surrogateescape" if _is_escaped(text) else "replace")
        readable = shown.decode("utf-8", "backslashreplace")
        raise UsageError(f"{flag} '{readable}' is not UTF-8", "rename it, or give it through a link") from None


def _is_escaped(text: str) -> bool:
    """Whether all that is not UTF-8 stands for bytes, as Python reads names from the system."""
    return all(not 0xD800 <= ord(one) <= 0xDFFF or 0xDC80 <= ord(one) <= 0xDCFF for one in text)


def parse_value(text: str) -> Any:
    """A value as users write it: JSON, or True, False or None as Python has them, else the text itself."""
    from gptfl.core.texts import JsonError, parse_json  # with all of core, which takes longer to load than gptfl --help

    if text in PYTHON:
        return PYTHON[text]
    try:
        return parse_json(text)
    except JsonError:
        return text


def read_settings(
    given: Sequence[str] | Mapping[str, Any], flag: str = "--set", such: str = "order=2"
) -> dict[str, Any]:
    """The settings of a part: a mapping as it is, or read from ``name=value`` words (see ``parse_value``).

    Args:
        given: the mapping or the words.
        flag: the option that they are given by.
        such: an example of a word, for whoever writes another.
    """
    if isinstance(given, Mapping):
        return dict(given)
    settings: dict[str, Any] = {}
    for word in given:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError(f"{flag} {word!r} is not NAME=VALUE", f"write for example {flag} {such}")
        settings[name.replace("-", "_")] = parse_value(value)
    return settings


def single_settings(given: Sequence[str]) -> list[str]:
    """``name=value`` words, each by itself where several stand in one, as in ``partition=gpu,gres=gpu:1``."""
    return [word for several in given for word in re.split(r",(?=[A-Za-z_][\w-]*=)", several)]


def read_settings_by_part(given: Sequence[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The settings of several parts: a mapping as it is, or read from ``part.name=value`` words.

    A part's name has no dot, a setting's neither.
    """
    if isinstance(given, Mapping):
        return dict(given)
    grouped: dict[str, dict[str, Any]] = {}
    for word in given:
        part, dot, rest = word.partition(".")
        if not dot or not part or "=" in part:
            raise UsageError(f"--set {word!r} is not ESTIMATOR.NAME=VALUE", "write for example gptfluence.order=2")
        grouped.setdefault(part, {}).update(read_settings([rest]))
    return {**grouped}


def read_axes(given: Sequence[str] | Mapping[str, Sequence[Any]], flag: str = "AXIS") -> dict[str, list[Any]]:
    """What a sweep varies: a mapping of lists, or read from ``axis=value,value`` words; ``flag`` names these."""
    if isinstance(given, Mapping):
        return {axis: _values(axis, values) for axis, values in given.items()}
    axes: dict[str, list[Any]] = {}
    for word in given:
        axis, sign, values = word.partition("=")
        axis = axis.strip().replace("-", "_")
        if not sign or not axis.isidentifier() or not all(value.strip() for value in values.split(",")):
            raise UsageError(f"{flag} {word!r} is not AXIS=V1,V2,...", "write for example order=1,2,3")
        if axis in axes:
            raise UsageError(f"{flag} {axis} is given twice", "give all its values at once")
        axes[axis] = [parse_value(value.strip()) for value in values.split(",")]
    return axes


def _values(axis: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"{axis} is {reprlib.repr(values)}", "give a sequence of values")
    # Numbers of numpy as Python's, for settings are kept as JSON.
    return [value.item() if hasattr(value, "item") else value for value in values]


def whole(
    who: str, setting: str, value: object, low: int | None = None, high: int | None = None, also: str | None = None
) -> int:
    """A whole number from ``low`` to ``high``, both included; 1e3 and "1000" are 1000, True is none.

    Args:
        who: who is asked, as messages call it ("estimator gptfluence").
        setting: the setting's name.
        value: what was given.
        low: the least that is allowed; None for no bound.
        high: the most that is allowed; None for no bound.
        also: what else the caller takes, for the message.

    Raises ``UsageError`` naming all three and what is allowed.
    """
    expected = f"a whole number{_range(low, high)}" + (f", or {also}" if also else "")
    number = value
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            _refuse(who, setting, value, expected)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        _refuse(who, setting, value, expected)
    found = int(number.__index__())
    if (low is not None and found < low) or (high is not None and found > high):
        _refuse(who, setting, value, expected)
    return found


def number(
    who: str,
    setting: str,
    value: object,
    low: float | None = None,
    high: float | None = None,
    *,
    positive: bool = False,
) -> float:
    """A finite number from ``low`` to ``high``, both included, or one above 0.

    Args:
        who: who is asked, as messages call it ("estimator gptfluence").
        setting: the setting's name.
        value: what was given.
        low: the least that is allowed; None for no bound.
        high: the most that is allowed; None for no bound.
        positive: whether it has to be above 0.

    Raises ``UsageError`` naming all three and what is allowed.
    """
    expected = "a positive number" if positive else f"a number{_range(low, high)}"
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(value, "__float__")):
        _refuse(who, setting, value, expected)
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        _refuse(who, setting, value, expected)
    if (
        not math.isfinite(found)
        or (positive and found <= 0)
        or (low is not None and found < low)
        or (high is not None and found > high)
    ):
        _refuse(who, setting, value, expected)
    return found


def flag(who: str, setting: str, value: object) -> bool:
    """True or False, and nothing that merely counts as one: the text "False" would count as true."""
    if not isinstance(value, bool):
        _refuse(who, setting, value, "true or false")
    return value


def text(who: str, setting: str, value: object) -> str:
    """A text of at least one character."""
    if not isinstance(value, str) or not value:
        _refuse(who, setting, value, "a text")
    return value


def one_of(who: str, setting: str, value: object, allowed: Sequence[str]) -> str:
    """One of the allowed texts.

    Args:
        who: who is asked, as messages call it ("estimator gptfluence").
        setting: the setting's name.
        value: what was given.
        allowed: the texts that may be given.

    Raises ``UsageError`` naming all three and what is allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        _refuse(who, setting, value, ", ".join(allowed[:-1]) + f" or {allowed[-1]}")
    return value


def utf8(name: object) -> str:
    """A name as a file can hold it: bytes that are no UTF-8, which a path may have, become question marks."""
    return str(name).encode("utf-8", "replace").decode()


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low}"
    return f" of at most {high}" if low is None else f" from {low} to {high}"


def _refuse(who: str, setting: str, value: object, expected: str) -> NoReturn:
    raise UsageError(f"{who}: {setting} is {reprlib.repr(value)}", f"give {expected}")
