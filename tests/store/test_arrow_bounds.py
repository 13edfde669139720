"""What Arrow and Parquet data would become is found out before they are unpacked."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptfl.errors import DataError
from gptfl.store import arrow_bounds, unpacked
from tests.store.rows_of_files import ARROW, MUCH, opened, rows, saved, shared


@pytest.mark.parametrize(
    "columns",
    [
        {"text": pa.array(["a"] * 9000)},
        {"text": ["a"], "many": pa.ListArray.from_arrays([0, 50_000], pa.nulls(50_000, pa.int32()))},
        {"text": ["a"], "many": pa.ListArray.from_arrays([0, 50_000], pa.array([7] * 50_000, pa.int32()))},
        {"text": shared(500, 2**11)},
        {"text": pa.array(["y" * 2**18] * 3)},
    ],
    ids=["rows", "nulls", "numbers", "shared text", "page"],
)
def test_a_small_parquet_file_does_not_become_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any]
) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 2**16)
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(DataError, match=MUCH):
        rows(tmp_path / "a.parquet")


def test_pages_rows_and_columns_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "many": pa.ListArray.from_arrays([0, 40], shared(40, 2**15))}), path)
    with pytest.raises(DataError, match=r"a.parquet, row 1 takes more than 1,048,576 bytes: break it up"):
        rows(path)
    monkeypatch.setattr(arrow_bounds, "MAX_PAGE", 2**10)
    with pytest.raises(DataError, match=r"a page of it has \d+,\d+ bytes"):
        rows(path)
    monkeypatch.setattr(arrow_bounds, "MAX_COLUMNS", 1)
    with pytest.raises(DataError, match="it has 2 columns"):
        rows(path)


@pytest.mark.parametrize("kind", ["parquet", "saved", "jsonl.gz"])
def test_rows_are_counted_before_the_first_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 2**16)
    table = pa.table({"text": pa.array([True] * 9000)})
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl.gz":
        path.write_bytes(gzip.compress(b'{"text":"a"}\n' * 9000))
    else:
        pq.write_table(table, path) if kind == "parquet" else saved(path, table)
    with pytest.raises(DataError, match=MUCH):
        next(opened(path))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
def test_nested_texts_are_read_from_dictionaries_and_pages_of_any_kind(
    tmp_path: Path, version: str, codec: str
) -> None:
    values = [
        {
            "messages": [{"role": "user", "content": f"{i % 7}"}, {"role": "assistant", "content": "x" * (i % 90)}]
            * (i % 3)
        }
        for i in range(700)
    ]
    pq.write_table(
        pa.Table.from_pylist(values), tmp_path / "a.parquet", row_group_size=400, data_page_size=300,
        dictionary_pagesize_limit=900, compression=codec, data_page_version=version, write_page_checksum=True,
    )  # fmt: skip
    assert rows(tmp_path / "a.parquet") == values


def test_bytes_pictures_and_sounds_are_left_out(tmp_path: Path) -> None:
    picture = pa.array([{"bytes": b"x" * 99, "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"text": ["a"], "raw": [b"x"], "picture": picture})
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == rows(saved(tmp_path / "saved", table)) == [{"text": "a"}]


def overwritten(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / ARROW).read_bytes()
        assert old in data
        (folder / ARROW).write_bytes(data.replace(old, new))

    return change


FOUR = struct.Struct("<4i")


@pytest.mark.parametrize(
    "change",
    [
        overwritten(FOUR.pack(0, 5, 10, 15), FOUR.pack(0, 5, 2**30, 2**30 + 5)),
        overwritten(FOUR.pack(0, 5, 10, 15), FOUR.pack(0, 5, -10, 15)),
        overwritten(FOUR.pack(0, 3, 5, 6), FOUR.pack(0, -3, 2**30, 6)),
        overwritten(b"abcdefghij", b"abcd\xff\xfeghij"),
        lambda folder: os.truncate(folder / ARROW, 500),
        lambda folder: os.truncate(folder / ARROW, 3),
    ],
)
def test_offsets_of_arrow_files_lead_inside(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder = saved(tmp_path / "saved", pa.table({"text": ["abcde", "fghij", "klmno"], "l": [[1, 2, 3], [4, 5], [6]]}))
    change(folder)
    with pytest.raises(DataError, match=r"is no readable data set of save_to_disk \(.*\): write it again"):
        rows(folder)


@pytest.mark.parametrize(
    ("table", "codec", "said"),
    [
        (pa.table({"text": ["y" * 9000] * 9}), "zstd", "it is packed"),
        (pa.table({"text": pa.RunEndEncodedArray.from_arrays([9], ["a"])}), None, "of the type run_end_encoded"),
        (pa.table({"text": ["a"], "n": pa.ListArray.from_arrays([0, 2**31 - 1], pa.nulls(2**31 - 1))}), None, "row 1"),
        (pa.table({"text": shared(99, 2**11)}), None, MUCH),
    ],
    ids=["packed", "runs", "nulls", "dictionary"],
)
def test_a_small_saved_data_set_does_not_become_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, codec: str | None, said: str
) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 2**16)
    monkeypatch.setattr(unpacked, "RATIO", 50)
    with pytest.raises(DataError, match=said):
        rows(saved(tmp_path / "saved", table, codec))
