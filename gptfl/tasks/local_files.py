"""Reads a task's rows from local JSON lines, one by one and within limits."""

from collections.abc import Iterator
from pathlib import Path

from gptfl.errors import DataError, ResourceError
from gptfl.store.jsonlines import Limits, read_json_lines
from gptfl.tasks.rows import TaskRow

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
            raise DataError(f"--data {folder} is not a folder", "name the folder that holds train.jsonl and test.jsonl")
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
    """Yield the rows of a JSON lines file; blank lines are skipped.

    Raises ``DataError`` with file and line as ``read_json_lines`` does.
    """
    limits = Limits(MAX_LINE_BYTES, MAX_FILE_BYTES, MAX_ROWS)
    for line in read_json_lines(path, f"one JSON object a line with {expected}", limits):
        yield TaskRow(line.values, line.place, expected)
