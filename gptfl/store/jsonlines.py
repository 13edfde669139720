"""Reads JSON lines of unknown origin: one object at a time, within limits, every problem told with its place."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gptfl.errors import DataError

MAX_LINE = 4 * 2**20
"""Bytes; parsed JSON can take many times the memory of its text."""
MAX_FILE = 4 * 2**30
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Line:
    """The object on one line of a file."""

    path: Path
    number: int
    values: dict[str, Any]

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}, line {self.number}"

    def wrong(self, problem: str, remedy: str) -> DataError:
        """The error that names this line."""
        return DataError(f"{self.place}: {problem}", remedy)

    def what(self, name: str) -> str:
        """A value as a message shows it."""
        return shown(self.values[name]) if name in self.values else "missing"

    def id(self, value: Any, form: str) -> str:
        """An id, whole number or text, as text; ``form`` is what the line should look like. Raises ``DataError``."""
        if type(value) is int:
            return str(value)
        if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
            raise self.wrong(f'"id" is {"missing" if value is None else shown(value)}, no id', f"expected {form}")
        return value


class _Refused(ValueError):
    """What JSON as Python reads it allows and these files don't."""


def read_json_lines(path: Path, expected: str) -> Iterator[Line]:
    """Yield the objects of a file, one a line; blank lines are skipped. No line is held longer than its turn.

    ``expected`` says in a message what a line should be. Raises ``DataError``, with file and line, for what is
    missing, no UTF-8, no JSON object, has a key twice or a number that is not finite, or is beyond the limits.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}", "check the path")
        if path.stat().st_size > MAX_FILE:
            raise DataError(f"{path} is larger than {MAX_FILE >> 30} GiB", "split it")
        with path.open("rb") as file:
            number = 0
            while data := file.readline(MAX_LINE + 1):
                number += 1
                if len(data) > MAX_LINE:
                    raise DataError(
                        f"{path}, line {number} is longer than {MAX_LINE >> 20} MiB", "write one object a line"
                    )
                if data.strip():
                    yield Line(path, number, _parse(data, f"{path}, line {number}", expected))
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}", "check the path and its permissions") from error


def _parse(data: bytes, place: str, expected: str) -> dict[str, Any]:
    try:
        values = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_constant)
        if b"\\ud" in data or b"\\uD" in data:  # an escape may be half a character, which no file can hold
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not UTF-8 text (byte {error.start + 1})", "save the file as UTF-8") from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half a character (a lone surrogate)", "write it whole, or leave it out"
        ) from error
    except _Refused as error:
        raise DataError(f"{place}: {error}", f"expected {expected}") from error
    except RecursionError as error:
        raise DataError(f"{place} is nested too deeply", f"expected {expected}") from error
    except json.JSONDecodeError as error:
        column = min(error.colno, len(error.doc.rstrip()) + 1)
        raise DataError(f"{place} is no JSON ({error.msg}, column {column})", f"expected {expected}") from error
    except ValueError as error:  # Python reads no number of thousands of digits
        raise DataError(f"{place} holds a number of too many digits", f"expected {expected}") from error
    if not isinstance(values, dict):
        raise DataError(f"{place} is {shown(values)}, not an object", f"expected {expected}")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {shown(twice)} is there twice")
    return values


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no number; what is not known is left out")


def shown(value: object) -> str:
    """A value as a message shows it: short, on one line."""
    text = printable(json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def printable(text: str) -> str:
    """A text without control characters: a file of unknown origin mustn't drive the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
