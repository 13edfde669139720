"""Rows from files as people have them: every kind gives the same, and what is damaged is told in one line."""

import csv
import os
from pathlib import Path

import pytest

from gptfl.errors import DataError, GptflError
from gptfl.store.jsonlines import Limits
from gptfl.store.row_files import LIMITS, read_row_file, stem
from tests.store.rows_of_files import KINDS, ROWS, compressed, read, rows, written


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows_compressed_or_not(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    for one in (path, compressed(path, "gz"), compressed(path, "zst")):
        assert read(one) == ROWS
        assert stem(one) == "rows"


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


def test_tables_of_other_spreadsheets_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n\n1;2\n3;4,5\n", encoding="utf-8")
    assert read(tmp_path / "a.csv") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4,5"}]
    before = csv.field_size_limit()
    next(iter(read_row_file(tmp_path / "a.csv", "rows")))
    assert csv.field_size_limit() == before


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv.gz", "a.parquet.zst"):
        with pytest.raises(GptflError, match="does not exist"):
            read(tmp_path / name)


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
