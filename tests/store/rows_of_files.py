"""Files and folders of rows of every kind, small ones, and what is read from them."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptfl.store.arrow_rows import read_saved
from gptfl.store.jsonlines import Limits, Row
from gptfl.store.row_files import LIMITS, read_row_file

ARROW = "data-00000-of-00001.arrow"
MUCH = "unpacks to more than 0 MiB and 50 times its size"


def rows(path: Path) -> list[dict[str, Any]]:
    return [row.values for row in opened(path)]


def opened(path: Path) -> Iterator[Row]:
    return read_saved(path, LIMITS) if path.is_dir() else read_row_file(path, "rows", LIMITS)


def saved(folder: Path, table: pa.Table, codec: str | None = None, **state: Any) -> Path:
    """What ``save_to_disk`` writes."""
    folder.mkdir()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(str(folder / ARROW), table.schema, options=options) as file:
        file.write_table(table)
    known = {"_data_files": [{"filename": ARROW}], "_fingerprint": "a", "_split": None}
    (folder / "state.json").write_text(json.dumps({**known, **state}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def shared(count: int, size: int) -> pa.Array:
    """A dictionary of one long text, many times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["z" * size]))


ROWS = [{"prompt": f'p{i}\nline, "quoted"', "target": f" t{i} é"} for i in range(3)]


KINDS = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet")


def written(folder: Path, kind: str, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    path = folder / f"rows.{kind}"
    if kind in ("jsonl", "ndjson"):
        path.write_text("\ufeff" + "\r\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif kind == "json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0].keys(), delimiter="\t" if kind == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    return path


def compressed(path: Path, how: str) -> Path:
    to = path.with_name(f"{path.name}.{how}")
    if how == "gz":
        to.write_bytes(gzip.compress(path.read_bytes()))
    else:
        with pa.CompressedOutputStream(str(to), "zstd") as file:
            file.write(path.read_bytes())
    return to


def read(path: Path, limits: Limits = LIMITS) -> list[dict[str, Any]]:
    return [row.values for row in read_row_file(path, "rows", limits)]
