"""The objects of a JSON array, one by one, wherever the window that is read ends."""

import json
from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.store.json_array import begins_array, read_json_array
from gptfl.store.jsonlines import Limits
from tests.store.rows_of_files import read, written


def test_a_window_that_ends_anywhere_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, "json", [{"a": "é" * (i % 7), "b": [i, {"c": None}]} for i in range(50)])
    assert read(path, Limits(110, 10**6, 100)) == json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / "none.json").write_text(" [ ] ", encoding="utf-8")
    assert read(tmp_path / "none.json") == []


@pytest.mark.parametrize(
    ("text", "is_one"), [("[1]", True), ("\ufeff \n [", True), ('{"a": []}', False), ("", False), ("  ", False)]
)
def test_an_array_is_known_by_its_first_character(tmp_path: Path, text: str, is_one: bool) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    assert begins_array(path, Limits(100, 10**6, 100)) == is_one


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1}', r"line 1 does not begin with \[: save the file again as one JSON array"),
        ('[{"a": 1} {"a": 2}]', "line 1 has neither a comma nor the end of the array after an item"),
        ('[{"é": 1},\n3]', r"item 2 \(line 2\) is 3, not an object: expected rows"),
        ('[{"a": 1}', "line 1 has neither a comma nor the end"),
        ("[]\n\nx", "line 3: something follows the end of the array: take it out"),
        ('[{"a": "' + "x" * 60 + '"}]', r"item 1 \(line 1\) is longer than 50 characters: break it up"),
        ("[{},{},{},{}]", "has more than 3 rows: split it, or use fewer rows"),
    ],
)
def test_what_is_no_array_of_objects_is_one_line_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=line):
        list(read_json_array(path, "rows", Limits(50, 10**6, 3)))
