"""Small files of rows that would become large, lie elsewhere or lead nowhere are refused in one line."""

import gzip
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptfl.errors import DataError
from gptfl.store import arrow_bounds, unpacked
from gptfl.store.arrow_rows import read_saved
from gptfl.store.jsonlines import Row
from gptfl.store.row_files import LIMITS, read_row_file
from gptfl.store.safety import TRUST

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


@pytest.mark.parametrize("how", ["gz", "zst"])
@pytest.mark.parametrize(("kind", "unit"), [("jsonl", b'{"text":"a"}\n'), ("csv", b"text\n"), ("parquet", bytes(100))])
def test_a_small_file_does_not_become_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, unit: bytes, how: str
) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 2**16)
    path = tmp_path / f"a.{kind}.{how}"
    text = b"text\n" * (kind == "csv") + unit * 20_000
    if how == "gz":
        path.write_bytes(gzip.compress(text))
    else:
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(text)
    with pytest.raises(DataError, match=MUCH):
        rows(path)
    if kind == "jsonl":
        monkeypatch.setenv(TRUST, "1")
        assert len(rows(path)) == 20_000


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


def test_a_row_of_a_saved_data_set_has_the_bound_of_others(tmp_path: Path) -> None:
    texts = ["a" * (2**20 - 8), "b", "c" * 2**20]
    with pytest.raises(DataError, match=r"two, row 3 takes more than 1,048,576 bytes: break it up"):
        rows(saved(tmp_path / "two", pa.table({"text": texts})))
    assert [one["text"] for one in rows(saved(tmp_path / "one", pa.table({"text": texts[:2]})))] == texts[:2]


def test_a_saved_data_set_has_the_bound_of_other_files(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved", pa.table({"text": ["a"]}))
    os.truncate(folder / ARROW, LIMITS.file + 1)
    with pytest.raises(DataError, match=rf"{ARROW} is larger than 1,073,741,824 bytes: save it in more files"):
        next(opened(folder))


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


def test_rows_are_read_in_slices_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_bounds, "PIECE", 400)
    values = [{"text": "x" * i, "l": [[i], []], "s": {"a": f"{i}"}, "m": [("k", i)], "n": None} for i in range(40)]
    kind = pa.schema(
        {
            "text": pa.string(),
            "l": pa.list_(pa.list_(pa.int8())),
            "s": pa.struct({"a": pa.string()}),
            "m": pa.map_(pa.string(), pa.int32()),
            "n": pa.null(),
        }
    )
    table = pa.Table.from_pylist(values, kind)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    read = [{**one, "m": [("k", i)]} for i, one in enumerate(rows(tmp_path / "a.parquet"))]
    assert read == values
    assert [one["text"] for one in rows(saved(tmp_path / "saved", table))] == [one["text"] for one in values]


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


NAMES = ["../out.arrow", "/etc/passwd", "../saved/" + ARROW, "x.txt", "\0.arrow", "s3://x/y.arrow", 7, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_data_set_is_in_its_own_folder(tmp_path: Path, name: Any) -> None:
    (tmp_path / "out.arrow").write_bytes(b"")
    folder = saved(tmp_path / "saved", pa.table({"text": ["a"]}), _data_files=[{"filename": name}])
    with pytest.raises(DataError, match=r"only .arrow files in the folder itself are read"):
        rows(folder)


@pytest.mark.parametrize("state", [[1], {"_data_files": "abc"}, {"_data_files": [1]}, {}, 7])
def test_what_names_no_files_is_reported(tmp_path: Path, state: Any) -> None:
    folder = saved(tmp_path / "saved", pa.table({"text": ["a"]}))
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match=r"state.json names no files: save it again with save_to_disk"):
        rows(folder)


def test_files_are_named_once_and_are_there(tmp_path: Path) -> None:
    table = pa.table({"text": ["a"]})
    twice = saved(tmp_path / "twice", table, _data_files=[{"filename": ARROW}] * 2)
    with pytest.raises(DataError, match=r"names \"data-00000-of-00001.arrow\" twice"):
        rows(twice)
    chosen = saved(tmp_path / "chosen", table, _indices_data_files=[{"filename": "i.arrow"}])
    with pytest.raises(DataError, match="was saved with its rows chosen by a list"):
        rows(chosen)
    gone = saved(tmp_path / "gone", table)
    (gone / ARROW).unlink()
    (gone / ARROW).symlink_to("/dev/zero")
    with pytest.raises(DataError, match=f'has no file "{ARROW}"'):
        rows(gone)


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


def test_wide_headers_and_white_space_take_no_time(tmp_path: Path) -> None:
    header = tmp_path / "a.csv"
    header.write_text(",".join(f"c{i}" for i in range(100_000)) + "\n")
    assert rows(header) == []
    blank = tmp_path / "a.json"
    os.truncate(os.open(blank, os.O_CREAT | os.O_WRONLY), 2**29)  # a hole
    with pytest.raises(DataError, match=r"line 1 is longer than 1,048,576 bytes"):
        rows(blank)
    blank.write_bytes(b" " * 2**21)
    with pytest.raises(DataError, match=r"line 1 is longer than 1,048,576 bytes"):
        rows(blank)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json.gz", "a.parquet", "a.jsonl.zst"])
def test_rows_come_from_plain_files_alone(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is not a plain file"):
        rows(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is not a plain file"):
        rows(tmp_path / name)
