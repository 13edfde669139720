"""Wrong mixtures and flips on the command line: one line, the right exit code, nothing written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome


@pytest.fixture
def data(tmp_path: Path) -> Path:
    sentences = [{"sentence": f"film {i}", "label": i % 2} for i in range(6)]
    claims = [{"premise": f"Nora sold {i} pears.", "hypothesis": "Nora sold fruit.", "label": i % 2} for i in range(6)]
    sums = [{"prompt": f"What is {i}?", "target": f" It is {i}."} for i in range(6)]
    for task, rows in (("sst2", sentences), ("rte", claims), ("jsonl", sums)):
        (tmp_path / "data" / task).mkdir(parents=True)
        for name in ("train.jsonl", "test.jsonl"):
            (tmp_path / "data" / task / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("options", "code", "pieces"),
    [
        (["rte,rte"], 3, ("--task 'rte,rte' names 'rte' twice", "ids of its examples would clash")),
        (["rte,nosuch"], 4, ("unknown task 'nosuch'",)),
        (["rte,"], 2, ("--task 'rte,' names no task at place 2",)),
        (["rte,sst2", "--per-task", "3", "--pool", "6"], 2, ("--pool 6 and --per-task 3", "give one of them")),
        (["rte,sst2", "--per-task", "0"], 2, ("--per-task is 0",)),
        (["rte,sst2", "--per-task", "7"], 3, ("--per-task 7 is more than the 6", "use --per-task 6 or fewer")),
        (["rte,boolq", "--per-task", "3"], 3, ("holds no folder 'boolq'", "train.jsonl and test.jsonl")),
        (["rte,sst2", "--flip-labels", "2"], 2, ("--flip-labels is 2", "between 0 and 1")),
        (["rte,jsonl", "--per-task", "3", "--flip-labels", "0.4"], 3, ("pool example 'jsonl:", "no classes")),
        (["rte,jsonl", "--per-task", "3", "--metric", "accuracy"], 3, ("test example 'jsonl:", "no choices")),
    ],
)
def test_bad_input_is_reported_in_one_line(
    gptfl: Callable[..., Outcome], data: Path, tmp_path: Path, options: list[str], code: int, pieces: tuple[str, ...]
) -> None:
    space = str(tmp_path / "w")
    common = (
        "collect",
        "--model",
        "tiny",
        "--data",
        str(data),
        "--workspace",
        space,
        "--test",
        "4",
        "--subset-size",
        "4",
    )
    outcome = gptfl(*common, "--task", *options)
    assert outcome.code == code, outcome
    (line,) = outcome.err.strip().split("\n")
    assert line.startswith("error: ")
    for piece in pieces:
        assert piece in line
    assert not (tmp_path / "w").exists()
