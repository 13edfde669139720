"""Reads rows from Parquet files and from folders that ``datasets`` saved, a few at a time."""

import datetime
import decimal
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, GptflError, is_memory_full
from gptfl.store.compressed import is_compressed, open_bytes
from gptfl.store.jsonlines import Limits, Row

BATCH = 256
"""Rows in memory at a time."""
BLOCK = 2**20
STATE, SPLITS = "state.json", "dataset_dict.json"
"""The files by which a folder of ``Dataset.save_to_disk`` and one of ``DatasetDict.save_to_disk`` are known."""


def read_parquet_file(path: Path, limits: Limits) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises ``DataError`` for what is damaged or beyond the limits, and ``OSError``."""
    import pyarrow.parquet  # type: ignore[import-untyped]

    with ExitStack() as opened:
        source: Any = opened.enter_context(_plain(path, limits)) if is_compressed(path) else path
        with _readable(path, "Parquet file"):
            file = opened.enter_context(pyarrow.parquet.ParquetFile(source))
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        if size > limits.file:
            raise DataError(f"{path} is larger than {limits.file:,} bytes when it is read", "split it")
        yield from _rows(path, file.iter_batches(batch_size=BATCH), limits, "Parquet file")


@contextmanager
def _plain(path: Path, limits: Limits) -> Iterator[Any]:
    """A file that holds what a compressed one does: Parquet is read from its end."""
    with tempfile.TemporaryFile() as aside, open_bytes(path) as file:
        size = 0
        while data := file.read(BLOCK):
            size += len(data)
            if size > limits.file:
                raise DataError(f"{path} is larger than {limits.file:,} bytes", "split it")
            aside.write(data)
        aside.seek(0)
        yield aside


def saved_splits(folder: Path) -> dict[str, Path] | None:
    """The splits of a folder that ``save_to_disk`` made, by name; the only one is called train; None for another folder.

    Raises ``DataError`` where the list of splits is no such list.
    """
    if (folder / STATE).is_file():
        return {"train": folder}
    if not (folder / SPLITS).is_file():
        return None
    try:
        with (folder / SPLITS).open("rb") as file:
            names = json.loads(file.read(BLOCK))["splits"]
        if isinstance(names, list) and all(isinstance(one, str) and Path(one).name == one for one in names):
            return {name: folder / name for name in names}
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise DataError(f"{folder / SPLITS} names no splits", "save it again with save_to_disk")


def read_saved(folder: Path, limits: Limits) -> Iterator[Row]:
    """Yield the rows of a data set that ``save_to_disk`` wrote. Raises ``DataError`` as ``read_parquet_file``."""
    import datasets

    what = "data set of save_to_disk"
    with _readable(folder, what):
        found: Any = datasets.load_from_disk(str(folder), keep_in_memory=False)
        if not isinstance(found, datasets.Dataset):
            raise DataError(f"{folder} is no single data set", "name the folder of one of its splits")
        # As Arrow tables, so that pictures and sounds aren't decoded.
        tables = found.with_format("arrow").iter(batch_size=BATCH)
    yield from _rows(folder, tables, limits, what)


def _rows(path: Path, batches: Iterable[Any], limits: Limits, what: str) -> Iterator[Row]:
    number, size = 0, 0
    batches = iter(batches)
    while True:
        with _readable(path, what):
            batch = next(batches, None)
            values = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        size += batch.nbytes
        if size > limits.file:
            raise DataError(f"{path} is larger than {limits.file:,} bytes when it is read", "split it")
        for row in values:
            number += 1
            place = f"{path}, row {number}"
            if number > limits.lines:
                raise DataError(f"{path} has more than {limits.lines:,} rows", "split it, or use fewer rows")
            yield Row(place, plain_row(row))


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Turn what pyarrow and datasets raise of a damaged file, which may be of any kind, into one line."""
    try:
        yield
    except GptflError:
        raise
    except Exception as error:
        if is_memory_full(error):
            raise
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(f"{path} is no readable {what} ({said})", "write it again") from error


def plain_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it, without pictures and sounds: times and decimals as text, null for what is not finite."""
    return {name: _plain_value(value) for name, value in values.items() if not _is_binary(value)}


def _is_binary(value: object) -> bool:
    """Whether a value is bytes, or a picture or sound that holds some: nothing to read or to group by."""
    if isinstance(value, dict):
        return any(isinstance(one, bytes) for one in value.values())
    return isinstance(value, bytes)


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain_value(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal | datetime.timedelta) else repr(value)[:100]
