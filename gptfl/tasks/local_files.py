"""Reads a task's rows from local files, one by one and within limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, ResourceError
from gptfl.store.compressed import COMPRESSED
from gptfl.store.jsonlines import BROKEN, Limits, Row, read_json_lines
from gptfl.store.row_files import KINDS, TABLES, is_row_file, read_row_file
from gptfl.tasks.rows import TaskRow, as_label

MAX_LINE_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
MAX_ROWS = 1_000_000
SPLITS = {"pool": "train.jsonl", "test": "test.jsonl"}


def split_file(folder: Path, split: str) -> Path:
    """The file of a split (``pool`` or ``test``) in a data folder, known to be there."""
    path = folder / SPLITS[split]
    try:
        if not folder.exists():
            raise DataError(f"--data {folder} does not exist", "name a folder that holds train.jsonl and test.jsonl")
        if not folder.is_dir():
            raise DataError(
                f"--data {folder} is not a folder",
                "name the folder that holds train.jsonl and test.jsonl, or leave --task out for data of your own",
            )
        others = (folder / f"{path.stem}{kind}{how}" for how in ("", *COMPRESSED) for kind in KINDS)
        path = path if path.exists() else next((one for one in others if one.is_file()), path)
        if not path.exists():
            raise DataError(f"--data {folder} holds no {path.name}", "it must hold train.jsonl and test.jsonl")
        if not path.is_file():
            # Read again whenever texts are needed that a recording doesn't keep, which a pipe can't be.
            raise DataError(f"--data {folder}: {path.name} is not a plain file", "put the rows into a file")
    except OSError as error:
        raise ResourceError(
            f"--data {folder} can't be read: {error.strerror or error}", "check the path and its rights"
        ) from error
    return path


def read_rows(path: Path, expected: str) -> Iterator[TaskRow]:
    """Yield the rows of a file as its name says, else of JSON lines; blank lines are skipped.

    Raises ``DataError`` with file and line as ``read_row_file`` and ``read_json_lines`` do.
    """
    limits = Limits(MAX_LINE_BYTES, MAX_FILE_BYTES, MAX_ROWS)
    form = f"one JSON object a line with {expected}"
    if not is_row_file(path):  # a pipe, or a file of any name
        yield from (TaskRow(line.values, line.place, expected) for line in read_json_lines(path, form, limits, BROKEN))
        return
    table = any(path.name.lower().endswith(f"{kind}{how}") for kind in TABLES for how in ("", *COMPRESSED))
    for row in read_row_file(path, form, limits):
        yield TaskRow(_numbered(row) if table else row.values, row.place, expected)


def _numbered(row: Row) -> dict[str, Any]:
    """The values of a table's row: what is empty is not there, and a label is a number."""
    values = {name: value for name, value in row.values.items() if value != "" or name == "prompt"}
    return {**values, "label": as_label(values["label"])} if "label" in values else values
