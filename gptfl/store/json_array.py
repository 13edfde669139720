"""Reads the objects of one JSON array of unknown origin, one by one."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gptfl.core.texts import JsonError, parse_json_at
from gptfl.errors import DataError
from gptfl.store.compressed import open_bytes
from gptfl.store.jsonlines import Limits, Row, shown

_SPACE = re.compile(r"[ \t\r\n]*")
"""The white space of JSON."""


def begins_array(path: Path, limits: Limits) -> bool:
    """Whether the first character of a file that isn't white space opens a JSON array; no further than a row goes."""
    with open_bytes(path) as file:
        head = file.read(limits.line).removeprefix(codecs.BOM_UTF8)
    return head.lstrip(b" \t\r\n").startswith(b"[")


def read_json_array(path: Path, expected: str, limits: Limits) -> Iterator[Row]:
    """Yield the objects of an array; ``expected`` says in a message what each should be.

    No more of the file is held than twice what one object may take. Raises ``DataError``, with file, item and line, for
    what is no JSON, no array of objects, no UTF-8 or beyond the limits.
    """
    with open_bytes(path) as file:
        text = _Window(path, file, limits)
        text.expect("[", "does not begin with [")
        number = 0
        while text.peek() != "]":
            if number:
                text.expect(",", "has neither a comma nor the end of the array after an item")
            number += 1
            if number > limits.lines:
                raise DataError(f"{path} has more than {limits.lines:,} rows", "split it, or use fewer rows")
            text.peek()
            place = f"{path}, item {number} (line {text.line})"
            values = text.value(place)
            if not isinstance(values, dict):
                raise DataError(f"{place} is {shown(values)}, not an object", f"expected {expected}")
            yield Row(place, values)
        text.expect("]", "does not end with ]")
        if text.peek():
            raise DataError(f"{path}, line {text.line}: something follows the end of the array", "take it out")


class _Window:
    """The part of a text that is being read: always at least as much as one object may take, unless the text ends."""

    def __init__(self, path: Path, file: IO[bytes], limits: Limits) -> None:
        self.path, self.file, self.limits = path, file, limits
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.line = "", 0, 1
        self.size, self.ended = 0, False

    def peek(self) -> str:
        """The next character that isn't white space; empty at the end."""
        while True:
            self._fill()
            found = _SPACE.match(self.text, self.at)
            self._move(found.end() if found else self.at)
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]

    def expect(self, character: str, otherwise: str) -> None:
        """Read this character. Raises ``DataError`` where another stands there."""
        if self.peek() != character:
            raise DataError(f"{self.path}, line {self.line} {otherwise}", "save the file again as one JSON array")
        self._move(self.at + 1)

    def value(self, place: str) -> Any:
        """Read the JSON value that begins here."""
        self._fill()
        try:
            value, end = parse_json_at(self.text, self.at)
        except JsonError as error:
            # What is held is longer than an object may be: a text in it, or it itself, doesn't end there.
            unending = error.at is not None and (error.at - self.at >= self.limits.line or "Unterminated" in str(error))
            if unending and not self.ended:
                raise self._too_long(place) from error
            raise DataError(f"{place} {self._placed(error)}", "mend its JSON") from error
        if end - self.at > self.limits.line:
            raise self._too_long(place)
        self._move(end)
        return value

    def _too_long(self, place: str) -> DataError:
        return DataError(f"{place} is longer than {self.limits.line:,} characters", "break it up")

    def _placed(self, error: JsonError) -> str:
        """What is wrong, with line and column in the file."""
        if error.at is None:
            return str(error)
        said = str(error).rpartition(", column ")[0]
        line = self.line + self.text.count("\n", self.at, error.at)
        return f"{said}, line {line}, column {error.at - self.text.rfind(chr(10), 0, error.at)})"

    def _move(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def _fill(self) -> None:
        while not self.ended and len(self.text) - self.at <= self.limits.line:
            data = self.file.read(self.limits.line)
            self.size += len(data)
            if self.size > self.limits.file:
                raise DataError(f"{self.path} is larger than {self.limits.file:,} bytes", "split it")
            try:
                more = self.decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                line = self.line + self.text.count("\n", self.at) + data.count(b"\n", 0, error.start)
                raise DataError(f"{self.path}, line {line} is not UTF-8 text", "save the file as UTF-8") from error
            self.ended = not data
            self.text, self.at = self.text[self.at :] + more, 0
