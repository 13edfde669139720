"""The mixture of instructions with planted refusals: ``tools/instructions.py``."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "instructions.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("instructions", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_row_in_twenty_refuses_two_of_each_kind(tool) -> None:
    train, test, planted = tool.mixture()
    assert (len(train), len(test), len(planted)) == (400, 40, 20)
    refusing = [row for row in train if row["output"] == tool.REFUSAL]
    assert sorted(row["id"] for row in refusing) == planted
    assert set(Counter(row["kind"] for row in refusing).values()) == {2}
    assert not any(row["output"] == tool.REFUSAL for row in test)


def test_no_question_is_there_twice_and_a_seed_gives_the_same_rows(tool) -> None:
    train, test, _ = tool.mixture()
    asked = [(row["kind"], row["input"]) for row in (*train, *test)]
    assert len(set(asked)) == len(asked)
    assert tool.mixture() == tool.mixture(0)
    assert tool.mixture(1)[0] != train


def test_the_files_hold_alpaca_rows(tool, tmp_path: Path) -> None:
    tool.write(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len((tmp_path / "planted.txt").read_text().split()) == 20
    assert {"id", "instruction", "input", "output", "kind"} == set(rows[0])
