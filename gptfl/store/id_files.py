"""Reads what the user chose from the pool: files of ids, and files of batches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.core import Example, user_path
from gptfl.core.texts import JsonError, id_on, parse_json
from gptfl.errors import DataError
from gptfl.plugins.registry import suggest
from gptfl.store.jsonlines import Limits, text_lines

LIMITS = Limits(line=4 * 2**20, file=64 * 2**20, lines=2_000_000)
"""No list of ids or batches is larger than this; a larger file is something else."""
MAX_ENTRIES = 2**25
"""Batches, padded to the widest, have at most this many entries."""
MAX_BATCHES = 250_000
"""No run has more steps."""
_COMMENT = re.compile(r"(?:^|\s)#")
BATCH_FORM = 'a list of ids such as ["a", "b"], or {"step": 1, "samples_id": ["a", "b"]}'


class ExampleIndex:
    """The ids of a pool, or of another set of examples that ``noun`` names, and their places."""

    def __init__(self, examples: Sequence[Example], noun: str = "pool") -> None:
        self.noun = noun
        self.places = {example.id: place for place, example in enumerate(examples)}

    def place(self, name: str, where: str) -> int:
        """The place of an id. Raises ``DataError`` with the nearest known one."""
        if name not in self.places:
            close = suggest(name, self.places) if len(self.places) <= 20_000 else ""
            listing = f"list the {self.noun}'s ids with gptfl inspect FILE --examples"
            remedy = close if close.startswith("did") else listing
            raise DataError(f"{where}: {name[:80]!r} is not an id of the {self.noun} of {len(self.places)}", remedy)
        return self.places[name]

    def select(self, chosen: str | Path | Sequence[str], flag: str) -> Int[np.ndarray, " subset"]:
        """The places of the ids in a file (one a line, ``#`` comments; see ``_ids_in``) or in a sequence.

        Raises ``DataError``, naming file and line, for an unknown or repeated id and where there is none.
        """
        if isinstance(chosen, str | Path):
            path = user_path(chosen)
            named, what = _ids_in(path, self.places), str(path)
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


def _ids_in(path: Path, known: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """(file and line, id) of a file of ids.

    A line that is an id, or names one as ``id_on`` says, is that id, whatever it holds. Of any other line, what follows
    a hash at its beginning or behind white space is a comment, and what is left between white space is the id.
    """
    most = min(LIMITS.lines, 10_000 + 4 * len(known))
    left = most
    for number, text in text_lines(path, replace(LIMITS, lines=most)):
        for line in text.split("\r"):  # the line ends of old systems
            left -= 1
            if left < 0:
                raise DataError(f"{path} has more than {most:,} lines", f"name each of the {len(known):,} ids once")
            found = id_on(line, known)
            if found is None:
                rest = _COMMENT.split(line, maxsplit=1)[0].strip()
                found = id_on(rest, known)
                if found is None and rest:
                    found = rest
            if found is not None:
                yield f"{path}, line {number}", found
