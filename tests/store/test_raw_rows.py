"""Rows taken out of a file, or weighted in it, with every other byte as it was."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptfl.errors import DataError
from gptfl.store.raw_rows import kind_of, starts_of, with_weights, without_rows
from gptfl.store.row_files import read_row_file
from tests.store.rows_of_files import KINDS, ROWS, read, written

KEPT = np.array([True, False, True])


def places(path: Path) -> list[str]:
    return [row.place for row in read_row_file(path, "rows")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_that_are_kept_are_read_as_before(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    target = tmp_path / f"new.{kind}"
    without_rows(path, target, places(path), KEPT)
    assert read(target) == [ROWS[0], ROWS[2]]


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_its_weight_and_is_else_as_before(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    target = tmp_path / f"new.{kind}"
    with_weights(path, target, places(path), KEPT)
    found = read(target)
    assert [float(row.pop("weight")) for row in found] == [1, 0, 1]
    assert found == ROWS


def test_bytes_that_belong_to_no_row_stay(tmp_path: Path) -> None:
    path, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n{"a":  1}\r\n\r\n{"a": 2}\n  \n{"a": 3 }')
    without_rows(path, target, places(path), KEPT)
    assert target.read_bytes() == b'\xef\xbb\xbf\n{"a":  1}\r\n\r\n  \n{"a": 3 }'


def test_a_cell_of_several_lines_goes_with_its_row(tmp_path: Path) -> None:
    path, target = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_bytes(b'a;b\n1;"x\n\ny"\n2;"z\nz"\n3;w')
    without_rows(path, target, places(path), KEPT)
    assert target.read_bytes() == b'a;b\n1;"x\n\ny"\n3;w'
    with_weights(path, target, places(path), KEPT)
    with target.open(newline="") as file:
        assert [row["weight"] for row in csv.DictReader(file, delimiter=";")] == ["1", "0", "1"]


def test_an_array_of_which_nothing_is_kept_is_an_array(tmp_path: Path) -> None:
    path, target = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text('[ {"é": "]"} ,\n {} ]\n', encoding="utf-8")
    without_rows(path, target, places(path), np.zeros(2, bool))
    assert target.read_text(encoding="utf-8") == "[  ]\n"
    with_weights(path, target, places(path), np.array([False, True]))
    assert read(target) == [{"é": "]", "weight": 0}, {"weight": 1}]


def test_parquet_keeps_its_schema_and_groups(tmp_path: Path) -> None:
    path, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table = pa.table({"n": pa.array([1, 2, 3, 4], pa.int16()), "s": pa.array(["a", None, "é", ""])})
    pq.write_table(table, path, row_group_size=2)
    without_rows(path, target, [], np.array([False, False, True, True]))
    assert pq.read_table(target).equals(table.slice(2))
    with_weights(path, target, [], np.array([True, False, True, True]))
    assert pq.read_table(target).equals(table.append_column("weight", pa.array([1.0, 0, 1, 1])))


def test_a_compressed_file_is_not_written_back(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(DataError, match=r"a\.jsonl\.gz is compressed, and can't be written back.*unpack it first"):
        kind_of(tmp_path / "a.jsonl.gz")


def test_a_file_of_lines_may_be_called_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert kind_of(path) == "lines"
    path.write_text(' [{"a": 1}]')
    assert kind_of(path) == "array"


def test_rows_begin_on_the_lines_that_messages_name() -> None:
    assert starts_of(["a, line 3.jsonl, line 3", "b c.csv, line 12"]) == [3, 12]
