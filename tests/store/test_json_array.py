"""The objects of a JSON array, one by one, wherever the window that is read ends."""

import json
from pathlib import Path

from gptfl.store.jsonlines import Limits
from tests.store.rows_of_files import read, written


def test_a_window_that_ends_anywhere_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, "json", [{"a": "é" * (i % 7), "b": [i, {"c": None}]} for i in range(50)])
    assert read(path, Limits(110, 10**6, 100)) == json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / "none.json").write_text(" [ ] ", encoding="utf-8")
    assert read(tmp_path / "none.json") == []
