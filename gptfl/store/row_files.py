"""Reads rows from files as people have them: JSON lines, a JSON array, CSV, Parquet, each also compressed."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from gptfl.core.texts import json_text
from gptfl.errors import DataError
from gptfl.store.compressed import COMPRESSED, bare_name, is_compressed, open_bytes
from gptfl.store.json_array import begins_array, read_json_array
from gptfl.store.jsonlines import BROKEN, Limits, Row, read_json_lines, text_lines
from gptfl.store.unpacked import ROW_BYTES, Unpacked

MAX_ROW, MAX_BYTES, MAX_ROWS = 2**20, 2**30, 1_000_000
"""Bytes of a row, bytes of a file, uncompressed, and rows: beyond them, a file is refused."""
_BLOCK = 2**20
LINES, ARRAY, TABLES, PARQUET = (".jsonl", ".ndjson"), (".json",), (".csv", ".tsv"), (".parquet",)
KINDS = (*LINES, *ARRAY, *TABLES, *PARQUET)
FORMS = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}, each also {' or '.join(COMPRESSED)}"
LIMITS = Limits(MAX_ROW, MAX_BYTES, MAX_ROWS)


def is_row_file(path: Path) -> bool:
    """Whether a file's name ends like one that ``read_row_file`` reads."""
    return bare_name(path).endswith(KINDS)


def stem(path: Path) -> str:
    """A file's name without the suffixes that say how it is written."""
    name = path.name
    for kind in (COMPRESSED, KINDS):
        found = next((one for one in kind if name.lower().endswith(one)), "")
        name = name[: len(name) - len(found)]
    return name or path.name


def read_row_file(path: Path, expected: str, limits: Limits = LIMITS) -> Iterator[Row]:
    """Yield the rows of a file, whose kind its name tells; ``expected`` says in a message what a row should be.

    No more of it is held than a few rows. Raises ``DataError``, naming file and line, row or item, for what is damaged
    or beyond the limits, and ``ResourceError`` for Zstandard on a machine that can't read it.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path} {'is not a plain file' if path.exists() else 'does not exist'}", "check the path")
        if not is_compressed(path) and path.stat().st_size > limits.file:
            raise DataError(f"{path} is larger than {limits.file:,} bytes", "split it")
        rows = _reader(path, expected, limits)
        if not is_compressed(path):
            yield from rows
            return
        if bare_name(path).endswith(LINES):
            _check_lines(path)
        unpacked = Unpacked(path, path.stat().st_size)
        for row in rows:
            unpacked.add(ROW_BYTES)
            yield row
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check the path and its rights") from error


def _check_lines(path: Path) -> None:
    """Raise ``DataError`` for more lines than a packed file of its size may hold, before any of them takes its time."""
    unpacked = Unpacked(path, path.stat().st_size)
    with open_bytes(path) as file:
        while block := file.read(_BLOCK):
            unpacked.add(ROW_BYTES * (block.count(b"\n") - block.count(b"\n\n")))


def _reader(path: Path, expected: str, limits: Limits) -> Iterator[Row]:
    name = bare_name(path)
    if name.endswith(PARQUET):
        from gptfl.store.arrow_rows import read_parquet_file

        return read_parquet_file(path, limits)
    if name.endswith(TABLES):
        return _read_csv(path, limits)
    if name.endswith(ARRAY) and begins_array(path, limits):
        return read_json_array(path, expected, limits)
    if name.endswith((*LINES, *ARRAY)):
        return (Row(line.place, line.values) for line in read_json_lines(path, expected, limits, BROKEN))
    raise DataError(f"{path} has no ending that says how its rows are written", f"end its name in {FORMS}")


def _read_csv(path: Path, limits: Limits) -> Iterator[Row]:
    """The rows of a table with a header; every value is a text, and an empty cell an empty one."""
    header: list[str] = []
    for place, cells in _Table(path, limits).records():
        if not header:
            header = cells
            twice = next((name for name, count in Counter(header).items() if count > 1), None)
            if twice is not None:
                raise DataError(f"{place}: the header has the column {json_text(twice)} twice", "rename one of them")
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{place} has {len(cells)} cells, and the header {len(header)}", 'put texts with commas into "quotes"'
            )
        yield Row(place, dict(zip(header, cells, strict=True)))


class _Table:
    """The records of a CSV file; what parts their cells is seen in the header."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self.began, self.held = 1, 0
        self.lines = (f"{line}\n" for _, line in text_lines(path, limits))

    def records(self) -> Iterator[tuple[str, list[str]]]:
        """Each record that isn't blank, with its place."""
        header = next(self.lines, None)
        if header is None:
            return
        reader = csv.reader(self._bounded(header), delimiter=self._parted_by(header), strict=True)
        while (cells := self._next(reader)) is not None:
            place, self.began, self.held = f"{self.path}, line {self.began}", reader.line_num + 1, 0
            if cells:
                yield place, cells

    def _bounded(self, header: str) -> Iterator[str]:
        """Every line, as long as a record isn't longer than a row may be."""
        for line in chain((header,), self.lines):
            self.held += len(line)
            if self.held > self.limits.line:
                raise DataError(
                    f"{self.path}, line {self.began}: the row is longer than {self.limits.line:,} characters",
                    'break it up, or look for a closing " that is missing',
                )
            yield line

    def _next(self, reader: Iterator[list[str]]) -> list[str] | None:
        before = csv.field_size_limit(self.limits.line)  # of all readers of this process
        try:
            return next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{self.path}, line {self.began} is no row of a table ({error})",
                'put texts into "quotes", and write a quote in them twice',
            ) from error
        finally:
            csv.field_size_limit(before)

    def _parted_by(self, header: str) -> str:
        """The comma, unless the header has none but the semicolons or tabs of other spreadsheets."""
        if bare_name(self.path).endswith(".tsv"):
            return "\t"
        return next((one for one in ",;\t" if one in header), ",")
