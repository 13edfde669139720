"""Files of results whose end a power cut left unreadable."""

import math
from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.studies.retraining import cut_damaged_end, read_results

LINES = '{"key": "a", "metrics": {"loss": 1.5}}\n{"key": "b", "metrics": {"loss": 2.5}}\n'


@pytest.mark.parametrize(
    ("end", "lost"),
    [("", 0), ('{"key": "c", "met', 17), ("\0" * 4096, 4096), ('{"key"' + "\0" * 10, 16), ("\0\0\n\0", 4)],
)
def test_a_torn_end_costs_only_itself(tmp_path: Path, end: str, lost: int) -> None:
    path = tmp_path / "a.study.jsonl"
    path.write_text(LINES + end)
    assert cut_damaged_end(path) == lost
    assert path.read_text() == LINES
    assert read_results(path) == {"a": {"loss": 1.5}, "b": {"loss": 2.5}}


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.study.jsonl"
    path.write_text(LINES.rstrip("\n"))
    assert cut_damaged_end(path) == 0
    assert sorted(read_results(path)) == ["a", "b"]


def test_a_file_of_zeros_is_an_empty_one_and_other_damage_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.study.jsonl"
    path.write_bytes(bytes(100))
    assert cut_damaged_end(path) == 100
    assert read_results(path) == {}
    path.write_text("no results\n" + LINES)
    assert cut_damaged_end(path) == 0
    with pytest.raises(DataError, match="line 1"):
        read_results(path)


def test_each_training_keeps_whatever_metrics_it_has_and_only_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.study.jsonl"
    path.write_text('{"key": "a", "metrics": {"loss": 1.5}}\n{"key": "b", "metrics": {"accuracy": null}}\n')
    found = read_results(path)
    assert found["a"] == {"loss": 1.5}
    assert list(found["b"]) == ["accuracy"]
    assert math.isnan(found["b"]["accuracy"])
    for wrong in ('{"loss": "1.5"}', "[]", "null"):
        path.write_text(f'{{"key": "a", "metrics": {wrong}}}\n')
        with pytest.raises(DataError, match=r"line 1: no result of a training: delete .* to train again"):
            read_results(path)
