"""Writes somebody's own rows back without those that were decided against, each byte of the others as it was."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gptfl.core import Example, Progress, silent, user_path
from gptfl.core.display import Listed
from gptfl.core.texts import json_text, shown_line
from gptfl.errors import DataError, UsageError
from gptfl.interchange.apply_summary import summary
from gptfl.options.apply import ApplyOptions
from gptfl.options.base import make
from gptfl.options.signature import takes
from gptfl.store.durable import cannot_write, part_of, put_folder_in_place
from gptfl.store.id_files import ExampleIndex, read_ids
from gptfl.store.jsonlines import Row
from gptfl.store.raw_rows import WEIGHT, kind_of, with_weights, without_rows
from gptfl.store.recordings import read_dynamics
from gptfl.store.row_files import is_row_file, read_row_file, stem
from gptfl.tasks.own_data import read_examples, row_reader
from gptfl.tasks.shapes import EXPECTED, RowReader, parse_fields

DROPPED, SUMMARY = "dropped.jsonl", "summary.md"
REMEDY = "take the file that was recorded, and read it alike (--dynamics, or --fields id=FIELD)"
RANKING_FIELDS = ("estimator", "rank", "influence", "low", "high", "verdict", "wrong_sign", "suspicion")
"""What of a ranking is kept beside each row that is left out."""


@dataclass(frozen=True, slots=True)
class ApplyResult(Listed):
    """What was written: the folder, the files in it, and how many rows were kept and left out."""

    path: Path
    files: tuple[str, ...]
    kept: int
    dropped: int
    notes: tuple[str, ...] = ()


@takes(ApplyOptions)
def apply(data: str | Path, *, progress: Progress = silent, **options: Any) -> ApplyResult:
    """Write the rows of a file back without some of them, into a new folder, whole or not at all.

    ``kept`` has the file's own format and suffix, and every row that is kept is as it was, byte for byte (of Parquet the
    values and the schema are). ``dropped.jsonl`` has the rows left out and why, ``summary.md`` what was done.

    Args:
        data: the file of rows.
        progress: called along the way.
        options: those of ``gptfl apply`` (docs/cli.md) by name; ``drop`` and ``keep`` may be sequences of ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that don't go together, ``DataError`` for
    what can't be read, ids that no row has, or a folder that is there already, and ``ResourceError`` where nothing can
    be written.
    """
    return apply_with(make(ApplyOptions, data=data, **options), progress=progress)


def apply_with(options: ApplyOptions, *, progress: Progress = silent) -> ApplyResult:
    """``apply`` with all options in one object. Raises as it does, but for ``TypeError``."""
    if (options.drop is None) == (options.keep is None):
        both = "both given" if options.drop is not None else "neither given"
        raise UsageError(f"--drop and --keep are {both}", "give one of them")
    data = user_path(options.data)
    if not data.is_file() or not is_row_file(data):
        raise DataError(f"--data {data} is no file of rows", "give a .jsonl, .json, .csv, .tsv or .parquet file")
    kind = kind_of(data)
    target = data.with_name(f"{stem(data)}.applied") if options.output is None else user_path(options.output)
    _check_is_folder(target, f"kept{data.suffix.lower()}")
    _check_free(target)
    before = _digest(data)
    progress("apply", 0, 2, "reading")
    rows = list(read_row_file(data, EXPECTED))
    examples, places = read_examples(rows, _reader(options))
    if options.weights:
        _check_no_weight(rows, data)
    kept, reasons = _chosen(options, examples)
    progress("apply", 1, 2, "writing")
    names = {"kept": f"kept{data.suffix.lower()}"}
    if options.weights:
        names[WEIGHT] = f"weighted{data.suffix.lower()}"
    try:
        with part_of(target, folder=True) as part:
            without_rows(data, part / names["kept"], places, kept)
            if options.weights:
                with_weights(data, part / names[WEIGHT], places, kept)
            left_out = [_dropped(examples[i], rows[i].values, reasons[i]) for i in np.flatnonzero(~kept)]
            (part / DROPPED).write_text("".join(left_out), encoding="utf-8")
            _check_kept(data, before, part / names["kept"], int(kept.sum()))
            page = summary(data.name, before, options, examples, kept, reasons, kind == "parquet")
            (part / SUMMARY).write_text(page, encoding="utf-8")
            _check_free(target)
            put_folder_in_place(part, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    progress("apply", 2, 2)
    notes: tuple[str, ...] = ()
    if kind == "parquet":
        notes = (f"{names['kept']} has the values and the schema of {data.name}, and is packed anew",)
    return ApplyResult(target, (*names.values(), DROPPED, SUMMARY), int(kept.sum()), int((~kept).sum()), notes)


def _reader(options: ApplyOptions) -> RowReader:
    """What reads the rows, as those of a recording were read where one is named."""
    if options.dynamics is None:
        return RowReader(parse_fields(options.fields))
    path = user_path(options.dynamics)
    settings = read_dynamics(path).settings
    found = row_reader(settings)
    if found is None:
        raise DataError(f"{path} is of a task, and not of rows of one's own", "leave out --dynamics")
    return found if options.fields is None else RowReader(parse_fields(options.fields), found.loss_on, found.as_chat)


def _chosen(
    options: ApplyOptions, examples: Sequence[Example]
) -> tuple[Bool[np.ndarray, " row"], list[Mapping[str, Any]]]:
    """Which rows are kept, and why each is or isn't. Raises ``DataError`` where nothing would be left."""
    named = options.drop if options.keep is None else options.keep
    flag = "--drop" if options.keep is None else "--keep"
    assert named is not None
    index = ExampleIndex(examples, "data", REMEDY)
    places = index.select(named, flag)
    is_named = np.zeros(len(examples), dtype=bool)
    is_named[places] = True
    kept = ~is_named if options.keep is None else is_named
    if not kept.any():
        raise DataError(f"{flag} leaves none of the {len(examples):,} rows", "keep at least one")
    ranked: dict[str, Mapping[str, Any]] = {}
    if isinstance(named, str | Path):
        ranked = {one.id: one.values for one in read_ids(user_path(named), index.places)}
    where = Path(named).name if isinstance(named, str | Path) else flag
    reasons: list[Mapping[str, Any]] = []
    for example, here in zip(examples, is_named, strict=True):
        values = {name: ranked.get(example.id, {}).get(name) for name in RANKING_FIELDS}
        known = {name: value for name, value in values.items() if value not in (None, "")}
        reasons.append({"reason": _reason(where, bool(here), known), **known})
    return kept, reasons


def _reason(where: str, is_named: bool, known: Mapping[str, Any]) -> str:
    """Why a row is where it is, in a line."""
    if not is_named:
        return f"not in {where}"
    parts = [f"{name} {_short(known[name])}" for name in ("suspicion", "influence") if name in known]
    if "low" in known and "high" in known:
        parts.append(f"between {_short(known['low'])} and {_short(known['high'])}")
    if "rank" in known:
        parts.append(f"rank {known['rank']}")
    numbers = ", ".join(parts)
    verdict = known.get("verdict")
    why = f"{verdict}: {numbers}" if verdict and numbers else verdict or numbers
    return f"in {where}" + (f" ({why})" if why else "")


def _short(value: Any) -> str:
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return shown_line(str(value))[:40]


def _dropped(example: Example, row: Mapping[str, Any], reason: Mapping[str, Any]) -> str:
    return json_text({"id": example.id, **reason, "row": dict(row)}) + "\n"


def _check_is_folder(target: Path, kept: str) -> None:
    """Raise ``UsageError`` for the name of a file of rows: whoever gives one takes the folder for the rows."""
    if is_row_file(target):
        folder = target.with_name(stem(target))
        raise UsageError(
            f"--output {target} names a file of rows, and apply writes a new folder with the rows, those left out and a summary",
            f"give a folder: of --output {folder} the rows are {folder / kept}",
        )


def _check_free(target: Path) -> None:
    """Raise ``DataError`` unless nothing is there: what is there may be the user's own."""
    if target.exists() or target.is_symlink():
        raise DataError(f"{target} is there already, and is not overwritten", "give another --output, or move it away")


def _check_no_weight(rows: Sequence[Row], data: Path) -> None:
    found = next((row for row in rows if WEIGHT in row.values), None)
    if found is not None:
        raise DataError(f"{found.place} has a field {WEIGHT!r} already", "leave out --weights, or rename it")


def _check_kept(data: Path, before: str, written: Path, count: int) -> None:
    """Raise ``DataError`` unless the file is what it was, and what was written reads as so many rows."""
    if _digest(data) != before:
        raise DataError(f"{data} was changed while it was read", "try again")
    found = sum(1 for _ in read_row_file(written, EXPECTED))
    if found != count:
        raise DataError(
            f"{data} is written in a way that can't be taken apart ({found} rows, not {count})", "save it again"
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(2**20):
                digest.update(data)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check the path and its rights") from error
    return digest.hexdigest()
