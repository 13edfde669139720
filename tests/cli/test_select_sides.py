"""Two sides and mixtures, as the commands show them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.sides import write
from tests.cli.test_errors import refuses


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sides"))


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def sides(space: Path) -> tuple[str, ...]:
    return ("-w", str(space), "--on", f"group:{space / 'target.txt'}", "--keep", f"group:{space / 'retain.txt'}")


def test_the_frontier_is_shown_with_its_chosen_point(gptfl: Callable, space: Path) -> None:
    call = ("select", "--size", "8", *sides(space), "--search", "100", "--frontier", "3", "--point", "1")
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[0].startswith("Subsets of 8 of the 24 training examples, by exposure-gp (--how closed-form)")
    assert any(line.startswith("1 *") for line in lines)
    assert "* point 1, whose ids are written (--point K writes another's)" in lines
    ids = next(space.glob("*keep*.8.ids.txt"))
    assert lines[-1] == f"next: gptfl verify --subset {ids}"
    assert next(space.glob("*keep*.png")).is_file()
    document = json.loads(gptfl(*call, "--json", "--no-picture").out)
    assert document["points"][0]["ids"] == ids.read_text().splitlines()[1:]
    assert gptfl(*call, "--csv", "--no-picture").out.startswith("estimator,point,")


def test_shares_are_shown_with_a_verdict(gptfl: Callable, space: Path) -> None:
    call = ("select", "--size", "9", "-w", str(space), "--by", "source", "--no-picture")
    shown = gptfl(*call, "--top", "2")
    assert shown.code == 0, shown.err
    assert "Shares by source of 9 of the 24 training examples" in shown.out
    assert "the pool's own mixture" in shown.out or "the pool's own shares" in shown.out
    assert "the 2 of greatest share, of 3 (--top 3 shows all)" in shown.out
    assert gptfl(*call, "--csv").out.startswith("estimator,group,rows,")
    assert gptfl("select", "--size", "4", "-w", str(space), "--csv").out.startswith("estimator,id,influence,low,high,")


def test_a_ranking_of_two_sides_has_three_verdicts(gptfl: Callable, space: Path) -> None:
    shown = gptfl("rank", *sides(space), "--top", "3")
    assert shown.code == 0, shown.err
    head = next(line for line in shown.out.splitlines() if line.strip().startswith("rank"))
    assert [name for name in ("retained", "on retained", "both sides") if name in head] == [
        "retained",
        "on retained",
        "both sides",
    ]
    assert "Retained: the mean of 4 test examples. Both sides: " in shown.out


def test_what_does_not_go_together_is_refused(gptfl: Callable, space: Path) -> None:
    call = ("select", "--size", "8", *sides(space))
    refuses(gptfl(*call, "--by", "source"), 2, "--by and --keep were given together")
    refuses(gptfl(*call, "--csv", "--json"), 2, "--csv and --json were given together")
    refuses(gptfl(*call, "--figure", "a.png", "--no-picture"), 2, "--figure a.png and --no-picture were given together")
    refuses(gptfl("rank", "-w", str(space), "--only", "both"), 2, "--only is both, without --keep")
