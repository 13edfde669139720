"""Rows from local files: one at a time, within limits, every problem with its place."""

import json

import pytest

from gptfl.errors import DataError
from gptfl.tasks import Rte, local_files
from gptfl.tasks.local_files import read_rows, split_file
from tests.tasks.task_files import RTE, numbered, write_splits


def test_a_line_that_is_no_utf8(tmp_path):
    folder = write_splits(tmp_path / "d", [RTE])
    (folder / "test.jsonl").write_bytes(json.dumps(RTE).encode() + b'\n{"premise": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"test.jsonl, line 2 is not UTF-8 text \(byte 17\)"):
        Rte(folder).load(1, 1, 0)


def test_limits_keep_memory_bounded(tmp_path, monkeypatch):
    folder = write_splits(tmp_path / "d", numbered(4))
    monkeypatch.setattr(local_files, "MAX_ROWS", 3)
    with pytest.raises(DataError, match=r"train\.jsonl has more than 3 lines"):
        Rte(folder).load(1, 1, 0)
    monkeypatch.setattr(local_files, "MAX_ROWS", 4)
    monkeypatch.setattr(local_files, "MAX_LINE_BYTES", 20)
    with pytest.raises(DataError, match="line 1 is longer than 20 bytes"):
        Rte(folder).load(1, 1, 0)
    monkeypatch.setattr(local_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(DataError, match="is larger than 100 bytes"):
        Rte(folder).load(1, 1, 0)


def test_blank_lines_and_a_byte_order_mark_are_harmless(tmp_path):
    folder = write_splits(tmp_path / "d", [RTE])
    (folder / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(RTE).encode() + b"\r\n\r\n")
    assert len(Rte(folder).load(None, None, 0).pool) == 1


def test_a_data_folder_that_is_not_one(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Rte(tmp_path / "nowhere").load(1, 1, 0)
    file = write_splits(tmp_path / "d", [RTE]) / "train.jsonl"
    with pytest.raises(DataError, match="is not a folder"):
        Rte(file).load(1, 1, 0)
    (tmp_path / "d" / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no test\.jsonl"):
        Rte(tmp_path / "d").load(1, 1, 0)
    (tmp_path / "d" / "test.jsonl").touch()
    with pytest.raises(DataError, match=r"test\.jsonl holds no examples"):
        Rte(tmp_path / "d").load(1, 1, 0)


def test_a_folder_may_hold_files_of_other_kinds(tmp_path):
    import gzip

    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,1\nc,d,0\n")
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(RTE).encode()))
    data = Rte(tmp_path).load(None, None, 0)
    assert sorted((one.id, one.label) for one in data.pool) == [("0", 1), ("1", 0)]
    assert data.test[0].target == " yes"
    assert Rte(tmp_path).sizes() == (2, 1)
    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,5\n")
    with pytest.raises(DataError, match=r"train\.csv, line 2: field 'label' is 5, not a whole number from 0 to 1"):
        Rte(tmp_path).load(None, None, 0)


def test_json_lines_go_before_files_of_other_kinds(tmp_path):
    for name in ("train.csv", "train.jsonl", "test.csv.gz"):
        (tmp_path / name).write_bytes(b"")
    assert split_file(tmp_path, "pool").name == "train.jsonl"
    assert split_file(tmp_path, "test").name == "test.csv.gz"


def test_in_a_table_what_is_empty_is_not_there(tmp_path):
    path = tmp_path / "größe.csv"
    path.write_text("prompt,target,label\n,é,1\na,,\n", encoding="utf-8")
    assert [row.values for row in read_rows(path, "x")] == [{"prompt": "", "target": "é", "label": 1}, {"prompt": "a"}]
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"prompt": "a", "target": "", "label": "1"}\n', encoding="utf-8")
    assert [row.values for row in read_rows(lines, "x")] == [{"prompt": "a", "target": "", "label": "1"}]
