"""One row of a task's data, read with care: whatever is wrong with it is told with its place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gptfl.core.texts import ID_RULE, MOST_DIGITS, id_problem
from gptfl.errors import DataError

EMPTY = "fill it in, or leave the row out"
"""What to do about a field or message that holds nothing."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """The fields of one row; ``place`` names its file and line, ``expected`` the fields of its task.

    ``form`` says in messages what a row is.
    """

    values: Mapping[str, Any]
    place: str
    expected: str
    form: str = "one JSON object a line with"

    def wrong(self, problem: str, remedy: str | None = None) -> DataError:
        """The error that says what is wrong with this row, and the remedy: unless given, what was expected."""
        return DataError(f"{self.place}: {problem}", remedy or f"expected {self.form} {self.expected}")

    def get(self, name: str) -> Any:
        """A field's value. Raises ``DataError`` where the row lacks it."""
        if name not in self.values:
            raise self.wrong(f"field {name!r} is missing")
        return self.values[name]

    def renamed(self, **columns: str) -> "TaskRow":
        """The same row under other field names: ``new="old"``; fields not named are left out."""
        return replace(self, values={new: self.get(old) for new, old in columns.items()})

    def having(self, **values: Any) -> "TaskRow":
        """The same row with these fields added or replaced."""
        return replace(self, values={**self.values, **values})

    def raw_text(self, name: str) -> str:
        """A field's text exactly as given. Raises ``DataError`` unless it is a non-empty string."""
        return self.checked(self.get(name), f"field {name!r}")

    def text(self, name: str) -> str:
        """A field's text with every run of white space made one space."""
        return tidy(self.raw_text(name))

    def any_text(self, name: str) -> str:
        """A field's text exactly as given, be it empty. Raises ``DataError`` unless it is a string."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self.wrong(f"field {name!r} is {shown(value)}, not a text")
        return value

    def label(self, name: str, classes: int) -> int:
        """A field's class. Raises ``DataError`` unless it is a whole number below ``classes``."""
        value = self.get(name)
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, int) or not 0 <= value < classes:
            raise self.wrong(f"field {name!r} is {shown(value)}, not a whole number from 0 to {classes - 1}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A field's list of texts as given. Raises ``DataError`` unless all are non-empty strings."""
        values = self.get(name)
        if not isinstance(values, list) or not values:
            raise self.wrong(f"field {name!r} is {shown(values)}, not a list of texts")
        return tuple(self.checked(value, f"field {name!r}, item {i}") for i, value in enumerate(values))

    def checked(self, value: object, where: str) -> str:
        """The value itself if it is a string with something in it."""
        if not isinstance(value, str):
            raise self.wrong(f"{where} is {shown(value)}, not a text")
        if not value.strip():
            raise self.wrong(f"{where} is empty", EMPTY)
        return value

    def id(self, default: int | str) -> str:
        """The row's id as text: its ``id`` field if it has one that is neither null nor empty, else ``default``."""
        value = self.values.get("id")
        if value is None or value == "":  # a table has empty cells where others have null
            value = default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.wrong(f"field 'id' is {shown(value)}, not a text")
        problem = id_problem(value)
        if problem:
            raise DataError(f"{self.place}: field 'id' is {shown(value)}, which {problem}", ID_RULE)
        return value


def as_label(value: Any) -> Any:
    """A label that a table has as digits, as a number; anything else as it is, numbers of far too many digits included."""
    is_number = isinstance(value, str) and value.isdecimal() and len(value) <= MOST_DIGITS
    return int(value) if is_number else value


def tidy(text: str) -> str:
    """The text with every run of white space made one space, none at its ends."""
    return " ".join(text.split())


def shown(value: object) -> str:
    """A value as a message shows it: short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
