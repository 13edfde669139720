"""Numbers that no run could be asked with are refused before anything is opened or loaded."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from gptfl.cli.main import app
from tests.cli.test_errors import refuses


def numeric_options() -> list[tuple[str, str, Any]]:
    """Command, parameter and typer's option of everything that takes a number."""
    found = []
    for info in app.registered_commands:
        command = inspect.unwrap(info.callback)
        for name, hint in get_type_hints(command, include_extras=True).items():
            annotated = get_args(hint)
            if not annotated:
                continue
            kinds = set(get_args(annotated[0])) or {annotated[0]}
            if kinds & {int, float}:
                found.append((str(info.name), name, annotated[1]))
    return found


def test_every_option_that_takes_a_number_is_checked_as_it_is_read() -> None:
    numeric = numeric_options()
    assert {command for command, _, _ in numeric} >= {
        "collect",
        "compare",
        "fit",
        "rank",
        "select",
        "simulate",
        "verify",
    }
    assert [(command, name) for command, name, option in numeric if option.callback is None] == []


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
    context = typer.Context(typer.main.get_command(app), resilient_parsing=True)
    for _, _, option in numeric_options():
        assert option.callback(context, None, -5) == -5
