"""Reads rows from Parquet files and from folders that ``datasets`` saved, a few at a time."""

import datetime
import decimal
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, GptflError, is_memory_full
from gptfl.store.compressed import is_compressed, open_bytes
from gptfl.store.jsonlines import Limits, Row, read_plain, shown
from gptfl.store.unpacked import ROW_BYTES, Unpacked

BATCH = 256
"""Rows in memory at a time."""
BLOCK = 2**20
STATE, SPLITS = "state.json", "dataset_dict.json"
"""The files by which a folder of ``Dataset.save_to_disk`` and one of ``DatasetDict.save_to_disk`` are known."""


def read_parquet_file(path: Path, limits: Limits) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises ``DataError`` for what is damaged or beyond the limits, and ``OSError``."""
    import pyarrow.parquet  # type: ignore[import-untyped]

    from gptfl.store.arrow_bounds import check_pages, text_columns

    what = "Parquet file"
    with ExitStack() as opened:
        if is_compressed(path):
            stream: Any = opened.enter_context(_plain(path, limits))
        else:
            stream = opened.enter_context(path.open("rb"))
        unpacked = Unpacked(path, path.stat().st_size)
        with _readable(path, what):
            file = opened.enter_context(pyarrow.parquet.ParquetFile(stream))
            check_pages(file.metadata, stream, unpacked)
            unpacked.add(ROW_BYTES * file.metadata.num_rows)
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
            schema = file.schema_arrow
            names = text_columns(schema)
        if size > limits.file:
            raise DataError(f"{path} is larger than {limits.file:,} bytes when it is read", "split it")
        with _readable(path, what):
            # What many rows share is read once.
            shared = [
                one.path
                for one in map(file.schema.column, range(len(file.schema)))
                if one.physical_type == "BYTE_ARRAY"
            ]
            file = opened.enter_context(pyarrow.parquet.ParquetFile(stream, read_dictionary=shared))
            # Each has dictionaries of its own, and lists of what is in two of them can't be read at once.
            batches = chain.from_iterable(
                file.iter_batches(BATCH, row_groups=[group], columns=names, use_threads=False)
                for group in range(file.num_row_groups)
            )
        yield from _rows(path, batches, limits, what, unpacked)


@contextmanager
def _plain(path: Path, limits: Limits) -> Iterator[Any]:
    """A file that holds what a compressed one does: Parquet is read from its end."""
    with tempfile.TemporaryFile() as buffer, open_bytes(path) as file:
        size = 0
        while data := file.read(BLOCK):
            size += len(data)
            if size > limits.file:
                raise DataError(f"{path} is larger than {limits.file:,} bytes", "split it")
            buffer.write(data)
        buffer.seek(0)
        yield buffer


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
    """Yield the rows of a data set that ``save_to_disk`` wrote. Raises ``DataError`` as ``read_parquet_file``.

    What ``datasets`` would make of its description, which may name files anywhere, counts for nothing: the rows are in
    the Arrow files of the folder.
    """
    import pyarrow

    from gptfl.store.arrow_bounds import check_messages, text_columns

    what = "data set of save_to_disk"
    for path in _arrow_files(folder):
        # Before it is mapped, which takes as much room among the addresses.
        if path.stat().st_size > limits.file:
            raise DataError(f"{path} is larger than {limits.file:,} bytes", "save it in more files, or split it")
        with ExitStack() as opened, _readable(folder, what):
            stream = opened.enter_context(pyarrow.memory_map(str(path)))
            unpacked = Unpacked(path, stream.size())
            check_messages(stream, unpacked)
            stream.seek(0)
            with pyarrow.ipc.open_stream(stream) as batches:
                for batch in batches:
                    unpacked.add(ROW_BYTES * batch.num_rows)
            stream.seek(0)
            reader = opened.enter_context(pyarrow.ipc.open_stream(stream))
            slices = _slices(reader, text_columns(reader.schema))
            yield from _rows(folder, slices, limits, what, unpacked)


def _arrow_files(folder: Path) -> list[Path]:
    """The files that a saved data set says it is in. Raises ``DataError`` for any but Arrow files in the folder itself."""
    try:
        found = json.loads(read_plain(folder / STATE, BLOCK))
        if found.get("_indices_data_files"):
            raise DataError(f"{folder} was saved with its rows chosen by a list", "save it again with save_to_disk")
        names = [one["filename"] for one in found["_data_files"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DataError(f"{folder / STATE} names no files", "save it again with save_to_disk") from None
    for name in names:
        if not isinstance(name, str) or not name.endswith(".arrow") or Path(name).name != name or "\0" in name:
            raise DataError(
                f"{folder / STATE} names {shown(name)}",
                "only .arrow files in the folder itself are read: save it again with save_to_disk",
            )
        if names.count(name) > 1:
            raise DataError(f"{folder / STATE} names {shown(name)} twice", "save it again with save_to_disk")
        if not (folder / name).is_file():
            raise DataError(
                f"{folder} has no file {shown(name)}, which {STATE} names", "copy it there, or save it again"
            )
    return [folder / name for name in names]


def _slices(batches: Iterable[Any], columns: list[str]) -> Iterator[Any]:
    """A few rows at a time of batches that are whole: offsets may lead anywhere."""
    for batch in batches:
        batch.validate(full=True)
        for start in range(0, batch.num_rows, BATCH):
            yield batch.select(columns).slice(start, BATCH)


def _rows(path: Path, batches: Iterable[Any], limits: Limits, what: str, unpacked: Unpacked) -> Iterator[Row]:
    from gptfl.store.arrow_bounds import PIECE, pieces

    number, size = 0, 0
    batches = iter(batches)
    while True:
        with _readable(path, what):
            batch = next(batches, None)
            parts = iter(()) if batch is None else pieces(batch)
        if batch is None:
            return
        while True:
            with _readable(path, what):
                part, weight = next(parts, (None, 0))
            if part is None:
                break
            size += weight
            if weight > PIECE:
                raise DataError(f"{path}, row {number + 1} takes more than {PIECE:,} bytes", "break it up")
            if size > limits.file:
                raise DataError(f"{path} is larger than {limits.file:,} bytes when it is read", "split it")
            unpacked.add(weight)
            if number + part.num_rows > limits.lines:
                raise DataError(f"{path} has more than {limits.lines:,} rows", "split it, or use fewer rows")
            with _readable(path, what):
                values = part.to_pylist()
            for row in values:
                number += 1
                yield Row(f"{path}, row {number}", plain_row(row))


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
