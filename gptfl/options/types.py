"""Which values the type of an option takes, and how messages call them.

A type is that of the option's field, and says all that Python takes: ``str | Path | Sequence[str] | None``. The command
line and files take the plain part of it: words, numbers, paths and tuples of these.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from gptfl.errors import UsageError

WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    Sequence: "a sequence",
    Mapping: "a mapping",
}
PLAIN = (bool, int, float, str, Path)
LONGEST = 100
"""Of a value that an option doesn't take, messages show so many characters."""


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, None aside; of any other type, itself."""
    members = get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) is Union else (kind,)
    return tuple(one for one in members if one is not type(None))


def listed(kind: Any) -> Any:
    """What the tuple holds, where the type has one, else None."""
    return next((get_args(one)[0] for one in alternatives(kind) if get_origin(one) is tuple), None)


def plain(kind: Any) -> tuple[type, ...]:
    """The types that one value may have on the command line; a bool beside others is Python's alone."""
    found = [one for one in alternatives(listed(kind) or kind) if one in PLAIN]
    return tuple(one for one in found if one is not bool or found == [bool])


def expected(kinds: Iterable[Any]) -> str:
    """What to give, in words; who may give a text may give a path."""
    names = [get_origin(one) or one for one in kinds]
    return " or ".join(WORDS[one] for one in names if not (one is Path and str in names))


def is_many(value: Any) -> bool:
    """Whether a value is several: anything to go through but a text or a mapping."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def taken(kind: Any, value: Any) -> Any:
    """A value as a type of ``alternatives`` has it, numbers of numpy as Python's. Raises ``TypeError`` for another's."""
    name = get_origin(kind) or kind
    if name is bool and _is_true_or_false(value):
        return bool(value)
    # True is a whole number to Python, and none to whoever gives it for one.
    if not _is_true_or_false(value):
        if name is int and isinstance(value, Integral):
            return operator.index(value)
        if name is float and isinstance(value, Real):
            return operator.index(value) if isinstance(value, Integral) else float(value)
        if name is Path and isinstance(value, str | PathLike):
            return Path(value) if isinstance(value, str) else value
        if name is Sequence and is_many(value):
            return value
        if name in (str, Mapping) and isinstance(value, name):
            return value
    raise TypeError(f"{_shown(value)} is not {expected([kind])}")


def read(kinds: Sequence[Any], value: Any, where: str) -> Any:
    """A value as the first type that takes it has it. Raises ``UsageError`` where none does; ``where`` names the option."""
    for kind in kinds:
        try:
            return taken(kind, value)
        except TypeError:
            continue
    raise UsageError(f"{where} is {shown(value)}", f"give {expected(kinds)}")


def shown(value: object) -> str:
    """A value as messages show it."""
    text = " ".join(_shown(value).split())
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        return f"{type(value).__name__} of no end"


def _is_true_or_false(value: Any) -> bool:
    # numpy's, which may not be loaded.
    return isinstance(value, bool) or (type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"))
