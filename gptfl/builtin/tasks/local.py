"""Reads a task's rows from local JSON lines, one by one and within limits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from gptfl.builtin.tasks.rows import Row
from gptfl.errors import DataError, ResourceError

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
        if not path.is_file():
            raise DataError(f"--data {folder} holds no {path.name}", "it must hold train.jsonl and test.jsonl")
    except OSError as error:
        raise ResourceError(
            f"--data {folder} can't be read: {error.strerror or error}", "check the path and its rights"
        ) from error
    return path


def read_rows(path: Path, expected: str) -> Iterator[Row]:
    """Yield the rows of a JSON lines file; blank lines are skipped.

    Raises ``DataError`` with file and line for what is no UTF-8, no JSON object or beyond
    ``MAX_LINE_BYTES``, and for a file beyond ``MAX_FILE_BYTES`` or ``MAX_ROWS``.
    """
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise DataError(
                    f"{path} has {size:,} bytes, more than the {MAX_FILE_BYTES:,} that gptfl reads", "use fewer rows"
                )
            yield from _rows(stream, path, expected)
    except OSError as error:
        raise ResourceError(
            f"{path} can't be read: {error.strerror or error}", "check the file and its rights"
        ) from error


def _rows(stream: IO[bytes], path: Path, expected: str) -> Iterator[Row]:
    number = count = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        blank = Row({}, f"{path}, line {number}", expected)
        if len(line) > MAX_LINE_BYTES:
            raise blank.wrong(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
        text = _decode(line, blank, first=number == 1)
        if not text.strip():
            continue
        count += 1
        if count > MAX_ROWS:
            raise blank.wrong(f"the file has more than {MAX_ROWS:,} rows")
        yield Row(_parse(text, blank), blank.place, expected)


def _decode(line: bytes, blank: Row, first: bool) -> str:
    try:
        return line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise blank.wrong(f"byte {error.start + 1} is not UTF-8") from error


def _parse(text: str, blank: Row) -> dict[str, Any]:
    try:
        # Behind a line break, the parser would count the columns of the next line.
        values = json.loads(text.rstrip("\r\n"), parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise blank.wrong(f"malformed JSON at column {error.colno} ({error.msg})") from error
    except UnicodeEncodeError as error:
        raise blank.wrong("half a character (a lone surrogate), which no file can hold") from error
    except (ValueError, RecursionError) as error:
        raise blank.wrong(f"malformed JSON ({error})") from error
    if not isinstance(values, dict):
        raise blank.wrong(f"a JSON {type(values).__name__} where an object belongs")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
