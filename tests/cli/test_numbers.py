"""Numbers that no run could be asked with are refused before anything is opened or loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from gptfl.cli.main import app
from gptfl.options.base import places
from tests.cli.test_errors import refuses
from tests.options.test_commands import COMMANDS

NUMERIC = [(kind.__name__, place) for kind in COMMANDS for place in places(kind) if {int, float} & set(place.takes)]
"""Every option that takes a number alone: of collect, --checkpoints takes a word, too."""


def test_every_option_that_takes_a_number_is_checked_as_it_is_read() -> None:
    assert len(NUMERIC) > 50
    unchecked = {(command, place.name) for command, place in NUMERIC if place.option.bound is None}
    assert unchecked == {("CollectOptions", "checkpoints")}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("compare", "--folds", "-2"), "--folds is -2: give at least 2"),
        (("compare", "--every", "0"), "--every is 0: give at least 1"),
        (("compare", "--observe", "0"), "--observe is 0: give how many recorded scores to tell, or leave it out"),
        (("fit", "--unseen-share", "1.5"), "--unseen-share is 1.5: give a share between 0 and 1, such as 0.25"),
        (("fit", "--seed", "-1"), "--seed is -1: give a whole number from 0 to 2**63 - 1"),
        (("rank", "--orders", "0"), "--orders is 0: give 1 or more"),
        (("select", "--size", "-3"), "--size is -3: give a number from 1 to the size of the pool"),
        (("select", "--size", "3", "--cautious", "nan"), "--cautious is nan: give 0 or more"),
        (("simulate", "--lr", "0"), "--lr is 0.0: give a positive number"),
        (("simulate", "--epochs", "inf"), "--epochs is inf: give a positive number"),
        (("verify", "--batch-size", "-4"), "--batch-size is -4: give a positive number"),
        (
            ("collect", "--reserve-pool", "1"),
            "--reserve-pool is 1: give 0, or 2 or more, so that runs can differ in it",
        ),
        (("select-study", "--size", "3", "--repeats", "1"), "--repeats is 1: give 2 or more: the spread tells"),
    ],
)
def test_a_number_out_of_range_is_one_line_whatever_the_workspace(
    gptfl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing is here: whoever looked would have said so.
    refuses(gptfl(*arguments), 2, f"error: {line}")


def test_completion_checks_nothing() -> None:
    root: Any = typer.main.get_command(app)
    checked = 0
    for command in root.commands.values():
        context = typer.Context(command, resilient_parsing=True)
        for parameter in command.params:
            if parameter.callback is not None:
                assert parameter.callback(context, parameter, -5) == -5
                checked += parameter.name not in ("config", "recipe")
    assert checked == len(NUMERIC) - 1
