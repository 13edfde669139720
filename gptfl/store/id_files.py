"""Reads what the user chose from the pool: files of ids, tables that name ids, and files of batches."""

import csv
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Example, user_path
from gptfl.core.many_examples import ids_of
from gptfl.core.texts import JsonError, id_on, parse_json
from gptfl.errors import DataError
from gptfl.plugins.registry import suggest
from gptfl.store.jsonlines import Limits, text_lines
from gptfl.store.row_files import PARQUET

LIMITS = Limits(line=4 * 2**20, file=64 * 2**20, lines=2_000_000)
"""No list of ids or batches is larger than this; a larger file is something else."""
MAX_PARQUET = 2**30
"""Bytes of a Parquet file once it is unpacked: rankings of large pools hold the rows' texts, which aren't kept."""
MAX_ENTRIES = 2**25
"""Batches, padded to the widest, have at most this many entries."""
MAX_BATCHES = 250_000
"""No run has more steps."""
MAX_DOCUMENT = 32 * 2**20
"""Bytes of a JSON document, which takes many times the memory of its text once it is parsed."""
_COMMENT = re.compile(r"(?:^|\s)#")
BATCH_FORM = 'a list of ids such as ["a", "b"], or {"step": 1, "samples_id": ["a", "b"]}'


class ExampleIndex:
    """The ids of a pool, or of another set of examples that ``noun`` names, and their places.

    ``others`` are the examples of the other side, by what messages call one of them.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        noun: str = "pool",
        remedy: str = "",
        others: tuple[str, Sequence[Example]] | None = None,
    ) -> None:
        self.noun = noun
        self.others = others
        self.remedy = remedy or f"list the {noun}'s ids with gptfl inspect FILE --examples"
        self.places = {name: place for place, name in enumerate(ids_of(examples))}

    def place(self, name: str, where: str) -> int:
        """The place of an id. Raises ``DataError`` with the nearest known one."""
        if name not in self.places:
            if self.others is not None and name in ids_of(self.others[1]):
                problem = f"{where}: {name[:80]!r} is {self.others[0]}, and not one of the {self.noun}"
                raise DataError(f"{problem} of {len(self.places)}", self.remedy)
            close = suggest(name, self.places) if len(self.places) <= 20_000 else ""
            remedy = close if close.startswith("did") else self.remedy
            raise DataError(f"{where}: {name[:80]!r} is not an id of the {self.noun} of {len(self.places)}", remedy)
        return self.places[name]

    def select(self, chosen: str | Path | Sequence[str], flag: str) -> Int[np.ndarray, " subset"]:
        """The places of the ids in a file (see ``read_ids``) or in a sequence.

        Raises ``DataError``, naming file and line, for an unknown or repeated id and where there is none.
        """
        if isinstance(chosen, str | Path):
            path = user_path(chosen)
            named = ((one.where, one.id) for one in read_ids(path, self.places))
            what = str(path)
        else:
            named, what = ((f"{flag}, item {n}", str(name)) for n, name in enumerate(chosen, 1)), flag
        seen: dict[str, str] = {}
        for where, name in named:
            pieces = re.split(r"[\s,]+", name.strip(" ,"))
            if name not in self.places and len(pieces) > 1 and all(piece in self.places for piece in pieces):
                raise DataError(
                    f"{where}: {name!r} is not an id of the {self.noun} but {len(pieces)} of them",
                    "write one id a line",
                )
            self.place(name, where)
            if name in seen:
                raise DataError(f"{where}: {name!r} was there before ({seen[name]})", "name each id once")
            seen[name] = where
        if not seen:
            raise DataError(f"{what} names no example", "write one id a line")
        return np.array([self.places[name] for name in seen], dtype=np.int64)

    def batches(self, path: str | Path) -> Int[np.ndarray, "step batch"]:
        """The batches of a JSON-lines file in order, as places padded with -1.

        A line is a list of ids, or an object with ``samples_id`` and, if it likes, ``step``; steps count up
        one by one from 0 or 1. Raises ``DataError``, naming file, line and what was expected.
        """
        path = user_path(path)
        rows: list[list[int]] = []
        last: int | None = None
        entries = 0
        for number, text in text_lines(path, replace(LIMITS, lines=min(LIMITS.lines, MAX_BATCHES))):
            where = f"{path}, line {number}"
            if not text.strip():
                continue
            step, names = _parse_batch(text, where)
            if rows and (step is None) != (last is None):
                raise DataError(f"{where}: some lines have a step and others don't", "give all a step, or none")
            if step is not None and step not in ((0, 1) if last is None else (last + 1,)):
                after = "comes first" if last is None else f"follows step {last}"
                raise DataError(f"{where}: step {step} {after}", "count steps up one by one from 0 or 1, or give none")
            entries += len(names)
            if entries > MAX_ENTRIES:
                raise DataError(f"{where}: there are more than {MAX_ENTRIES:,} ids so far", "give fewer batches")
            rows.append([self.place(name, where) for name in names])
            last = step
        if not rows:
            raise DataError(f"{path} holds no batch", f"write one a line: {BATCH_FORM}")
        widest = max(len(places) for places in rows)
        if len(rows) * widest > MAX_ENTRIES:
            raise DataError(f"{path} holds {len(rows)} batches of up to {widest} ids", "give fewer or smaller batches")
        batches = np.full((len(rows), widest), -1, dtype=np.int64)
        for batch, places in zip(batches, rows, strict=True):
            batch[: len(places)] = places
        return batches


def pool_index(pool: Sequence[Example], test: Sequence[Example]) -> ExampleIndex:
    """The index of a pool; an id of a test example is told as such."""
    return ExampleIndex(pool, others=("a test example", test))


def _parse_batch(text: str, where: str) -> tuple[int | None, list[str]]:
    step: int | None = None
    try:
        row = parse_json(text)
    except JsonError as error:
        raise DataError(f"{where} {error}", f"expected {BATCH_FORM}") from error
    if isinstance(row, dict):
        step, row = row.get("step"), row.get("samples_id")
    plain = isinstance(row, list) and all(isinstance(name, str) or type(name) is int for name in row)
    if not plain or not row or not (step is None or type(step) is int):
        raise DataError(f"{where}: {text.strip()[:60]!r} is not a batch", f"expected {BATCH_FORM}")
    return step, [str(name) for name in row]


@dataclass(frozen=True, slots=True)
class IdRow:
    """An id that a file names: ``where`` is file and line, ``values`` what a table says beside it."""

    where: str
    id: str
    values: dict[str, Any] = field(default_factory=dict)


def read_ids(path: Path, known: Container[str], count: int | None = None) -> Iterator[IdRow]:
    """The ids that a file names, in its order: one a line, or the rows of a table.

    Tables are what ``gptfl rank`` and ``gptfl select`` write as CSV, Parquet or JSON, and any other CSV or Parquet with a
    column ``id``, JSON lines or JSON document of objects with a key ``id``. Parquet is told by its name, and what any other
    file is, by its first line that isn't blank. A line that names a known id is that id, whatever it holds.

    Args:
        path: the file or pipe, read once.
        known: the ids that there are.
        count: how many ids there are, by default ``len(known)``.

    Raises ``DataError``, naming file and line, for what can't be read, and for a table of several rankings.
    """
    if path.name.lower().endswith(PARQUET):
        return _parquet_rows(path)
    count = len(known) if count is None else count  # type: ignore[arg-type]
    lines = text_lines(path, LIMITS)
    before: list[tuple[int, str]] = []
    for number, text in lines:
        before.append((number, text))
        if text.strip():
            break
    every = chain(before, lines)
    first = before[-1][1].strip() if before else ""
    if id_on(first, known) is None:
        if first.startswith("{"):
            return _json_rows(path, every)
        if "id" in _header(first):
            return _csv_rows(path, every, known)
    return _plain_rows(path, every, known, count)


def _plain_rows(path: Path, lines: Iterator[tuple[int, str]], known: Container[str], count: int) -> Iterator[IdRow]:
    """The ids of a file that has one a line.

    A line that is an id, or names one as ``id_on`` says, is that id, whatever it holds. Of any other line, what follows
    a hash at its beginning or behind white space is a comment, and what is left between white space is the id.
    """
    most = left = min(LIMITS.lines, 10_000 + 4 * count)
    for number, text in lines:
        for line in text.split("\r"):  # the line ends of old systems
            left -= 1
            if left < 0:
                raise DataError(f"{path} has more than {most:,} lines", f"name each of the {count:,} ids once")
            found = id_on(line, known)
            if found is None:
                rest = _COMMENT.split(line, maxsplit=1)[0].strip()
                found = id_on(rest, known)
                if found is None and rest:
                    found = rest
            if found is not None:
                yield IdRow(f"{path}, line {number}", found)


def _header(line: str) -> list[str]:
    """The names of the columns, if a line is the header of a table; a single name is none."""
    try:
        cells = [cell.strip() for cell in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        return []
    return cells if len(cells) > 1 and len(set(cells)) == len(cells) else []


def _csv_rows(path: Path, lines: Iterator[tuple[int, str]], known: Container[str]) -> Iterator[IdRow]:
    """The rows of a table with a column ``id``, which holds ids as ``written_id`` writes them."""
    at = 1

    def fed() -> Iterator[str]:
        nonlocal at
        for number, text in lines:
            at = number
            if text.strip():
                yield f"{text}\n"

    reader = csv.reader(fed(), strict=True)
    header = [cell.strip() for cell in next(reader)]
    rankings: set[str] = set()
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {at} is no row of a table ({error})", "write the table again") from error
        if cells is None:
            return
        where = f"{path}, line {at}"
        if len(cells) != len(header):
            raise DataError(
                f"{where} has {len(cells)} cells, and the header {len(header)}", 'put texts with commas into "quotes"'
            )
        values = dict(zip(header, cells, strict=True))
        rankings.add(values.get("estimator", ""))
        _check_one_ranking(path, len(rankings))
        written = values.pop("id")
        found = id_on(written, known)
        yield IdRow(where, written.strip() if found is None else found, values)


def _parquet_rows(path: Path) -> Iterator[IdRow]:
    """The rows of a Parquet file with a column ``id``, which holds ids as they are."""
    from gptfl.store.arrow_rows import read_parquet_file  # takes long to load

    rankings: set[Any] = set()
    try:
        for row in read_parquet_file(path, replace(LIMITS, file=MAX_PARQUET)):
            values = {key: value for key, value in row.values.items() if key != "text"}
            rankings.add(values.get("estimator"))
            _check_one_ranking(path, len(rankings))
            yield _id_row(values, row.place)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check the path and its rights") from error


def _json_rows(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[IdRow]:
    """The rows of JSON lines, or of a document of one ranking or selection."""
    held: list[str] = []
    size, first = 0, True
    for number, text in lines:
        if first and not text.strip():
            continue
        where = f"{path}, line {number}"
        if first:
            first = False
            row = _whole_row(text)
            if row is not None:
                yield _id_row(row, where)
                yield from (
                    _id_row(_parsed(one, f"{path}, line {n}"), f"{path}, line {n}") for n, one in lines if one.strip()
                )
                return
        size += len(text) + 1
        if size > MAX_DOCUMENT:
            raise DataError(f"{path} is a JSON document of more than {MAX_DOCUMENT:,} bytes", "write CSV instead")
        held.append(text)
    document = _parsed("\n".join(held), str(path))
    for place, row in enumerate(_examples_of(document, path), 1):
        yield _id_row(row, f"{path}, example {place}")


def _whole_row(text: str) -> Any:
    """The object of a line that is a row by itself; None where the line is part, or all, of a document."""
    try:
        row = parse_json(text)
    except JsonError:
        return None
    return row if isinstance(row, dict) and "id" in row else None


def _examples_of(document: Any, path: Path) -> list[Any]:
    """The list of examples in what ``gptfl rank`` or ``gptfl select`` writes as JSON."""
    rankings = document.get("rankings", [document]) if isinstance(document, dict) else None
    if isinstance(rankings, list) and rankings:
        _check_one_ranking(path, len(rankings))
        found = rankings[0].get("examples") if isinstance(rankings[0], dict) else None
        if isinstance(found, list):
            return found
    raise DataError(f"{path} is JSON that lists no examples", "give what gptfl rank or gptfl select wrote, or ids")


def _check_one_ranking(path: Path, count: int) -> None:
    if count > 1:
        raise DataError(f"{path} has the rankings of several estimators", "write it by one, with --estimator")


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except JsonError as error:
        raise DataError(f"{where} {error}", "write the file again") from error


def _id_row(row: Any, where: str) -> IdRow:
    name = row.get("id") if isinstance(row, dict) else None
    if not (isinstance(name, str) or type(name) is int):
        raise DataError(f"{where} has no id", 'expected an object with the key "id", or a column of that name')
    return IdRow(where, str(name), {key: value for key, value in row.items() if key != "id"})
