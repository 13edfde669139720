"""Pictures are asked for, and left out, alike in every command that draws one."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from gptfl.cli.commands import COMMANDS
from gptfl.cli.picture import pictured
from gptfl.options.base import make, places
from gptfl.options.evaluation import CompareOptions, GridOptions, LearningCurveOptions, VerifyOptions
from gptfl.options.influence import RankOptions, RelabelStudyOptions, SelectOptions, SelectStudyOptions
from gptfl.options.removal_study import RemovalStudyOptions
from gptfl.options.simulation import SimulateOptions
from tests.cli.conftest import Outcome

DRAWING = (
    CompareOptions, GridOptions, LearningCurveOptions, RankOptions, RelabelStudyOptions, SelectOptions,
    RemovalStudyOptions, SelectStudyOptions, SimulateOptions, VerifyOptions,
)  # fmt: skip
SIZED = ("--size", "2")
NEEDED = {
    "select-study": SIZED,
    "select": SIZED,
    "sweep": ("order=1",),
    "learning-curve": ("2",),
    "verify": ("--drop", "i"),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_python_takes_a_switch_and_the_command_line_a_flag(kind: type) -> None:
    found = {place.name: place for place in places(kind)}
    assert bool in get_args(found["figure"].type)
    assert found["no_picture"].flag == "--no-picture"
    given = {"size": 2} if kind in (SelectOptions, SelectStudyOptions) else {}
    options = make(kind, figure=False, **given)
    assert getattr(options, "study", options).figure is False
    assert pictured(options) == options


def test_every_command_with_a_figure_is_tried(gptfl: Callable[..., Outcome]) -> None:
    named = [name for name in COMMANDS if "--figure" in gptfl(name, "--help").out]
    assert len(named) == len(DRAWING)
    for name in named:
        refused = gptfl(name, *NEEDED.get(name, ()), "--figure", "a.png", "--no-picture")
        assert refused.code == 2, name
        assert "--figure a.png and --no-picture were given together: choose one" in refused.err


def test_a_verification_without_a_picture(gptfl: Callable[..., Outcome], study: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    listed = gptfl("inspect", str(next(study.glob("*.dynamics.h5"))), "--examples").out
    ids.write_text("\n".join([line.split("\t")[0] for line in listed.splitlines() if "\tpool\t" in line][:4]))
    found = gptfl("verify", "--workspace", str(study), "--subset", str(ids), "--no-picture")
    assert found.code == 0, found.err
    assert "picture" not in found.out
    assert not list(study.glob("*.png"))
