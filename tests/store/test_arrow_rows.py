"""Rows of Parquet files and of saved data sets, a few at a time; what lies elsewhere or leads nowhere is one line."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptfl.errors import DataError
from gptfl.store import arrow_bounds
from gptfl.store.arrow_rows import read_saved, saved_splits
from gptfl.store.row_files import LIMITS
from tests.store.rows_of_files import ARROW, ROWS, opened, read, rows, saved, written


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


def test_values_of_tables_become_json(tmp_path: Path) -> None:
    import datetime
    import decimal

    day = datetime.date(2024, 5, 1)
    row = {"d": day, "n": float("nan"), "x": decimal.Decimal("1.5"), "img": {"bytes": b"x", "path": None}, "b": b"y"}
    row |= {"list": [{"when": datetime.datetime(2024, 5, 1, 2)}]}
    assert read(written(tmp_path, "parquet", [row])) == [
        {"d": "2024-05-01", "n": None, "x": "1.5", "list": [{"when": "2024-05-01T02:00:00"}]}
    ]


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    try:
        whole = datasets.Dataset.from_list(ROWS * 200)
        whole.select(range(1, 400)).save_to_disk(tmp_path / "one")
        datasets.DatasetDict({"train": whole, "test": whole.select([0])}).save_to_disk(tmp_path / "two")
    finally:
        datasets.enable_progress_bars()
    rows = [row.values for row in read_saved(tmp_path / "one", LIMITS)]
    assert (len(rows), rows[0]) == (399, ROWS[1])
    assert saved_splits(tmp_path / "one") == {"train": tmp_path / "one"}
    assert saved_splits(tmp_path / "two") == {name: tmp_path / "two" / name for name in ("train", "test")}
    assert saved_splits(tmp_path) is None
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["../one"]}')
    with pytest.raises(DataError, match=r"dataset_dict\.json names no splits"):
        saved_splits(tmp_path / "two")
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no readable data set of save_to_disk"):
        list(read_saved(tmp_path / "one", LIMITS))
