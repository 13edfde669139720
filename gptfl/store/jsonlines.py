"""Reads JSON lines of unknown origin: one object at a time, within limits, every problem told with its place."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.core.texts import ID_RULE, JsonError, id_problem, json_text, parse_json
from gptfl.errors import DataError, harmless
from gptfl.store.compressed import is_compressed, open_bytes

MAX_LINE = 4 * 2**20
"""Bytes; parsed JSON can take many times the memory of its text."""
MAX_FILE = 4 * 2**30
MAX_LINES = 10_000_000
MAX_BLANK = 100_000
"""Lines that hold nothing; a file with more is no list of anything."""
MAX_SHOWN = 60
BROKEN = "mend its JSON, or take the line out"
"""What to do about a row that is no JSON: what fields it should have doesn't help."""
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read: bytes of a line, bytes in all, and lines."""

    line: int
    file: int
    lines: int = MAX_LINES


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one row of a file of any kind, by name; ``place`` is what messages call it."""

    place: str
    values: dict[str, Any]


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
        if not isinstance(value, str):
            raise self.wrong(f'"id" is {"missing" if value is None else shown(value)}, no id', f"expected {form}")
        problem = id_problem(value)
        if problem:
            raise self.wrong(f'"id" is {shown(value)}, which {problem}', ID_RULE)
        return value


def read_json_lines(
    path: Path, expected: str, limits: Limits | None = None, broken: str | None = None
) -> Iterator[Line]:
    """Yield the objects of a file, one a line; blank lines are skipped. No line is held longer than its turn.

    Args:
        path: the file or pipe.
        expected: what a line should be, for messages.
        limits: how much of it is read.
        broken: what to do about a line that is no JSON, where that isn't to write what is expected.

    Raises ``DataError``, with file and line, as ``text_lines`` and ``parse_json`` do, and for what is no object.
    """
    limits = limits or Limits(MAX_LINE, MAX_FILE)
    for number, text in text_lines(path, limits):
        if text.strip():
            yield Line(path, number, _parse(text, f"{path}, line {number}", expected, broken))


def text_lines(path: Path, limits: Limits) -> Iterator[tuple[int, str]]:
    """(number from 1, text without its end) of each line of a text file or pipe, read once and no further than asked.

    A byte order mark is taken off. Raises ``DataError``, with file and line, for what can't be read, is no UTF-8, or is
    beyond the limits.
    """
    too_large = DataError(f"{path} is larger than {limits.file:,} bytes", "split it")
    try:
        if path.is_dir() or not path.exists():
            raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}", "check the path")
        if path.stat().st_size > limits.file:
            raise too_large
        too_many = DataError(f"{path} has more than {limits.lines:,} lines", "split it, or use fewer rows")
        plain = path.is_file() and not is_compressed(path)
        if plain and _has_more_lines(path, limits.lines):  # told before any of them takes its time
            raise too_many
        with open_bytes(path) as file:
            number = size = blank = 0
            while data := file.readline(limits.line + 1):
                number += 1
                size += len(data)
                if size > limits.file:  # neither a pipe nor a compressed file tells its size
                    raise too_large
                if number > limits.lines:
                    raise too_many
                blank += data.isspace()
                if blank > MAX_BLANK:
                    raise DataError(f"{path} has more than {MAX_BLANK:,} blank lines", "take them out")
                if len(data) > limits.line:
                    raise DataError(f"{path}, line {number} is longer than {limits.line:,} bytes", "break it up")
                yield number, _decoded(data, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check the path and its rights") from error


def _has_more_lines(path: Path, most: int) -> bool:
    left, end = most, 0
    with path.open("rb") as file:
        while left >= 0:
            try:
                # Holes take no room on the disk, and hold no line.
                start = os.lseek(file.fileno(), end, os.SEEK_DATA) if hasattr(os, "SEEK_DATA") else end
            except OSError:  # there is nothing behind here
                break
            file.seek(start)
            block = file.read(_BLOCK)
            if not block:
                break
            left -= block.count(b"\n")
            end = start + len(block)
    return left < 0


def read_plain(path: Path, most: int, option: str = "") -> bytes:
    """The bytes of a plain file.

    Args:
        path: of the file.
        most: bytes that it may have.
        option: that names it, for messages.

    Raises ``DataError`` for any other, and for one of more bytes.
    """
    called = f"{option} {path}".lstrip()
    try:
        if not path.exists():
            raise DataError(f"{called} does not exist", "check the path")
        if not path.is_file():
            raise DataError(f"{called} is not a plain file", "name one" if option else "move it away")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DataError(
            f"{called} can't be read: {error.strerror or error}", "check the path and its rights"
        ) from error
    if len(data) > most:
        raise DataError(f"{called} is larger than {most:,} bytes", "name another" if option else "move it away")
    return data


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not UTF-8 text (byte {error.start + 1})", "save the file as UTF-8") from error


def _parse(text: str, place: str, expected: str, broken: str | None) -> dict[str, Any]:
    try:
        values = parse_json(text)
    except JsonError as error:
        raise DataError(f"{place} {error}", broken or f"expected {expected}") from error
    if not isinstance(values, dict):
        raise DataError(f"{place} is {shown(values)}, not an object", f"expected {expected}")
    return values


def shown(value: object) -> str:
    """A value as a message shows it: short, on one line."""
    # Cut before it is written: what is refused may be of any size.
    text = json_text(value[: MAX_SHOWN * 2]) if isinstance(value, str) else repr(value)
    text = harmless(text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
