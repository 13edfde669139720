"""Rows from files as people have them: every kind gives the same, and what is damaged is told in one line."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptfl.errors import DataError, GptflError, ResourceError
from gptfl.store.arrow_rows import read_saved, saved_splits
from gptfl.store.jsonlines import Limits
from gptfl.store.row_files import LIMITS, read_row_file, stem

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


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows_compressed_or_not(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    for one in (path, compressed(path, "gz"), compressed(path, "zst")):
        assert read(one) == ROWS
        assert stem(one) == "rows"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_or_none_is_reported(tmp_path: Path, kind: str, how: str) -> None:
    path = compressed(written(tmp_path, kind), how)
    for data in (path.read_bytes()[:-9], b"nothing of the kind"):
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{path.name} is no whole (gzip|Zstandard) file: compress or copy"):
            read(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '[{"a": 1},\n {"a": 2, "a": 3}]', 'item 2 (line 2) has the key "a" twice'),
        ("a.json", '[{"a": 1},\n {"a": 1e400}]', "item 2 (line 2) holds the number 1e400"),
        ("a.json", '[{"a": "\\ud800"}]', "item 1 (line 1) holds half a character"),
        ("a.json", '[{"a": 1},\n {"a":\n 5 5}]', "Expecting ',' delimiter, line 3, column 4"),
        ("a.json", '[{"a": 1} {"a": 2}]', "line 1 has neither a comma nor the end"),
        ("a.json", '[{"a": 1},', "item 2 (line 1) is no JSON (Expecting value, line 1, column 11)"),
        ("a.json", '[{"a": 1}', "line 1 has neither a comma nor the end"),
        ("a.json", '[{"a": 1}]\nx', "line 2: something follows the end"),
        ("a.json", "[1]", "item 1 (line 1) is 1, not an object"),
        ("a.json", "[" * 100_000, "item 1 (line 1) is nested too deeply"),
        ("a.json", b'[{"a": "\xe9"}]', "line 1 is not UTF-8"),
        ("a.json", '[{"a": "' + "x" * 300 + '"}]', "is longer than 200"),
        ("a.json", '[{"a": [' + "1, " * 90 + "1]}]", "is longer than 200"),
        ("a.json", '{"a": 1}\n{"a": 2', "line 2 is no JSON"),
        ("a.jsonl", '{"a": 1}\n{"a": NaN}', "line 2 holds NaN"),
        ("a.csv", "a,b\n1,2,3\n", "line 2 has 3 cells, and the header 2"),
        ("a.csv", "a,a\n1,2\n", 'the header has the column "a" twice'),
        ("a.csv", 'a,b\n1,"2\n' + "x\n" * 200, "line 2: the row is longer than 200"),
        ("a.csv", 'a,b\n1,"2"x\n', "line 2 is no row of a table"),
        ("a.csv", 'a,b\n1,"2\n', "line 2 is no row of a table (unexpected end of data)"),
        ("a.csv", b"a,b\n1,\xe9\n", "line 2 is not UTF-8"),
        ("a.parquet", "PAR1 nothing", "is no readable Parquet file"),
        ("a.parquet", "", "is no readable Parquet file"),
        ("a.txt", "a", "no ending that says how its rows are written"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read(path, Limits(200, 10_000_000, 1000) if "longer" in message else LIMITS)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_limits_hold_for_every_kind_and_for_what_a_compressed_file_becomes(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, [{"prompt": "a" * 50, "target": "b"}] * 60)
    packed = compressed(path, "gz")
    for one, limits, message in (
        (path, Limits(1000, 10**6, 40), "has more than 40"),
        (packed, Limits(1000, 10**6, 40), "has more than 40"),
        (path, Limits(1000, 300, 100), "is larger than 300 bytes"),
        (packed, Limits(1000, 300, 100), "is larger than 300 bytes"),
    ):
        with pytest.raises(DataError, match=message):
            read(one, limits)


def test_a_window_that_ends_anywhere_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, "json", [{"a": "é" * (i % 7), "b": [i, {"c": None}]} for i in range(50)])
    assert read(path, Limits(110, 10**6, 100)) == json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / "none.json").write_text(" [ ] ", encoding="utf-8")
    assert read(tmp_path / "none.json") == []


def test_tables_of_other_spreadsheets_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n\n1;2\n3;4,5\n", encoding="utf-8")
    assert read(tmp_path / "a.csv") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4,5"}]
    before = csv.field_size_limit()
    next(iter(read_row_file(tmp_path / "a.csv", "rows")))
    assert csv.field_size_limit() == before


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


def test_zstandard_that_nothing_can_read_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(written(tmp_path, "jsonl"), "zst")
    monkeypatch.setattr("gptfl.store.compressed.arrow_reads", lambda name: False)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ResourceError, match="pip install zstandard"):
        read(path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv.gz", "a.parquet.zst"):
        with pytest.raises(GptflError, match="does not exist"):
            read(tmp_path / name)
