import json
from collections.abc import Callable
from pathlib import Path

import pytest

import gptfl as package
from tests.cli.test_errors import refuses


@pytest.fixture
def study_of_flips(neox: Path, tmp_path: Path) -> Path:
    recorded = package.collect(
        str(neox), "errands", workspace=tmp_path, runs=4, pool=8, test=3, subset_size=4, batch_size=2, steps=2, lr=1e-2,
        flip_labels=0.5,
    )  # fmt: skip
    package.fit("class-share", dynamics=recorded.path)
    return tmp_path


def test_cost_first_then_the_tables(gptfl: Callable, study_of_flips: Path) -> None:
    arguments = ("relabel-study", "-w", str(study_of_flips), "--shares", "0.5", "--repeats", "1", "--steps", "2")
    dry = gptfl(*arguments, "--dry-run")
    assert dry.code == 0, dry.err
    assert dry.out.splitlines()[0] == "Plan"
    assert dry.out.splitlines()[-1] == "Nothing was trained (--dry-run)."
    shown = gptfl(*arguments)
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[:2] == [line.strip() for line in dry.out.splitlines()[:2]]
    assert lines[2].split(maxsplit=1) == ["each", "2 steps of 2 over a pool of 8, measured twice on 3 test examples"]
    assert "accuracy at step 2 (mean of 1 training, 3 test examples) by share checked and corrected" in lines
    head = next(line for line in lines if line.startswith("order of checking"))
    assert head.split() == ["order", "of", "checking", "0%", "50%", "100%"]
    for name in ("class-share", "random order", "perfect order"):
        assert sum(line.startswith(name) for line in lines) == 2
    assert any(line.startswith("numbers: ") for line in lines)
    document = json.loads(gptfl(*arguments, "--json").out)
    assert document["shares"] == [0, 0.5, 1]
    assert [one["order"] for one in document["orders"]] == ["class-share", "random order", "perfect order"]


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--shares", "0.1,a"), 2, ("--shares '0.1,a': 'a' is not a number", "0.1,0.2,0.4")),
        (("--shares", "10,20"), 2, ("--shares has 10", "from 0 to 1")),
        (("--repeats", "0"), 2, ("--repeats is 0",)),
        (("--executor", "locla"), 4, ("unknown executor 'locla'", "'local'")),
        (("--figure", "x.doc"), 2, ("x.doc", ".png")),
    ],
)
def test_bad_input_is_one_line(
    gptfl: Callable, study_of_flips: Path, arguments: tuple[str, ...], code: int, pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("relabel-study", "-w", str(study_of_flips), *arguments), code, *pieces)


def test_without_flips_there_is_nothing_to_study(gptfl: Callable, study: Path) -> None:
    outcome = gptfl("relabel-study", "-w", str(study))
    assert outcome.code == 3
    assert "has no flipped labels to correct: record with gptfl collect --flip-labels 0.4" in outcome.err


def test_ranking_finds_the_flips_that_collect_made(gptfl: Callable, study_of_flips: Path) -> None:
    document = json.loads(gptfl("rank", "-w", str(study_of_flips), "--json").out)
    assert document["flipped"] == 4
    assert set(document["detection"]) == {"class-share"}
