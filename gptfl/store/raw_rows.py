"""Rows of a file as they stand in it: some of them taken out, or each given a weight, and every other byte left alone."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gptfl.core.texts import JsonError, parse_json_at
from gptfl.errors import DataError
from gptfl.store.compressed import bare_name, is_compressed, open_bytes
from gptfl.store.json_array import begins_array
from gptfl.store.row_files import ARRAY, LIMITS, PARQUET, TABLES

WEIGHT = "weight"
_SPACE = re.compile(r"[ \t\r\n]*")
Change = Callable[[int, bytes], bytes | None]
"""What becomes of a row, given its number and its bytes without a line's end; None where it is taken out."""


def kind_of(path: Path) -> str:
    """How the rows of a file are written: ``lines``, ``array``, ``table`` or ``parquet``.

    Raises ``DataError`` for what is compressed: its bytes are not those of its rows.
    """
    if is_compressed(path):
        raise DataError(f"{path} is compressed, and can't be written back as it was", "unpack it first")
    name = bare_name(path)
    if name.endswith(PARQUET):
        return "parquet"
    if name.endswith(TABLES):
        return "table"
    return "array" if name.endswith(ARRAY) and begins_array(path, LIMITS) else "lines"


def starts_of(places: Sequence[str]) -> list[int]:
    """The line on which each row begins, from what messages call it (``FILE, line 3``)."""
    return [int(place.rpartition(" line ")[2]) for place in places]


def without_rows(path: Path, target: Path, places: Sequence[str], kept: Bool[np.ndarray, " row"]) -> None:
    """Write a file of the rows that are kept, each as it was, and everything between them.

    Args:
        path: the file of rows.
        target: the file to write, of the same format.
        places: where each row stands, as messages call it (``FILE, line 3``).
        kept: which rows are kept; shape ``[row]``.

    Raises ``DataError`` where the file is compressed or can't be taken apart, and ``OSError`` where it can't be read or
    the target not be written.
    """

    def change(number: int, row: bytes) -> bytes | None:
        return row if kept[number] else None

    _written(path, target, places, change, None, kept)


def with_weights(path: Path, target: Path, places: Sequence[str], kept: Bool[np.ndarray, " row"]) -> None:
    """Write a file of all rows with one more field ``weight``: 1 for those kept, 0 for others.

    Args:
        path: the file of rows.
        target: the file to write, of the same format.
        places: where each row stands, as messages call it (``FILE, line 3``).
        kept: which rows get the weight 1; shape ``[row]``.

    Raises ``DataError`` where the file is compressed or can't be taken apart, and ``OSError`` where it can't be read or
    the target not be written.
    """
    kind = kind_of(path)

    def change(number: int, row: bytes) -> bytes:
        weight = b"1" if kept[number] else b"0"
        if kind == "table":
            return row + separator + weight
        inside = row.rstrip()
        end = row[len(inside) :]
        comma = b"" if inside[:-1].rstrip().endswith(b"{") else b", "
        return inside[:-1] + comma + b'"weight": ' + weight + inside[-1:] + end

    separator = _separator(path) if kind == "table" else b""
    _written(path, target, places, change, lambda head: head + separator + WEIGHT.encode(), kept)


def _written(
    path: Path,
    target: Path,
    places: Sequence[str],
    change: Change,
    head: Callable[[bytes], bytes] | None,
    kept: Bool[np.ndarray, " row"],
) -> None:
    kind = kind_of(path)
    if kind == "parquet":
        _parquet(path, target, kept, head is not None)
        return
    with target.open("wb") as file:
        parts = _array(path, change) if kind == "array" else _lines(path, starts_of(places), change, head)
        for part in parts:
            file.write(part)


def _lines(path: Path, starts: Sequence[int], change: Change, head: Callable[[bytes], bytes] | None) -> Iterator[bytes]:
    """The lines of a file, the rows that begin at these lines changed."""
    number = 0
    held: list[bytes] = []
    row = -1
    with open_bytes(path) as file:
        for line in file:
            number += 1
            if row + 1 < len(starts) and number == starts[row + 1]:
                yield from _flushed(held, row, change, head)
                held, row = [], row + 1
            held.append(line)
    yield from _flushed(held, row, change, head)


def _flushed(held: Sequence[bytes], row: int, change: Change, head: Callable[[bytes], bytes] | None) -> Iterator[bytes]:
    """One row, which may have several lines, and the blank ones after it; before the first row what stands there."""
    lines = list(held)
    blank: list[bytes] = []
    while lines and not lines[-1].strip():
        blank.insert(0, lines.pop())
    whole = b"".join(lines)
    bare = whole.rstrip(b"\r\n")
    end = whole[len(bare) :]
    if row < 0:
        yield (head(bare) + end) if head is not None and bare.strip() else whole
    elif (changed := change(row, bare)) is not None:
        yield changed + end
    yield from blank


def _array(path: Path, change: Change) -> Iterator[bytes]:
    """A JSON array, its items changed; what stands between two of them goes with the latter."""
    with open_bytes(path) as file:
        data = file.read()
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    text = data.decode("utf-8-sig")
    at = _after_space(text, _after_space(text, 0) + 1)
    yield mark + text[:at].encode()
    number, written, last = 0, False, at
    while text[at] != "]":
        try:
            _, end = parse_json_at(text, at)
        except JsonError as error:
            raise DataError(f"{path} {error}", "check that nobody changes it meanwhile") from error
        changed = change(number, text[at:end].encode())
        if changed is not None:
            yield (text[last:at] if written else "").encode() + changed
            written = True
        last, at, number = end, _after_space(text, end), number + 1
        if text[at] == ",":
            at = _after_space(text, at + 1)
    yield text[last:].encode()


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _separator(path: Path) -> bytes:
    """What parts the cells of a table, as ``read_row_file`` sees it in the header."""
    with open_bytes(path) as file:
        header = file.readline(LIMITS.line).decode("utf-8-sig")
    if bare_name(path).endswith(".tsv"):
        return b"\t"
    return next((one for one in ",;\t" if one in header), ",").encode()


def _parquet(path: Path, target: Path, kept: Bool[np.ndarray, " row"], weighted: bool) -> None:
    """Rows of a Parquet file in a file of the same schema; groups of rows stay, and compression is the writer's own."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    file = pyarrow.parquet.ParquetFile(path)
    schema = file.schema_arrow
    if weighted:
        schema = schema.append(pyarrow.field(WEIGHT, pyarrow.float64()))
    at = 0
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for group in range(file.num_row_groups):
            table: Any = file.read_row_group(group)
            mask = kept[at : at + len(table)]
            at += len(table)
            if weighted:
                table = table.append_column(schema.field(WEIGHT), [pyarrow.array(mask.astype(np.float64))])
            else:
                table = table.filter(pyarrow.array(mask))
            if len(table):
                writer.write_table(table.cast(schema))
