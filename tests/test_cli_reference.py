"""The reference page is what the commands say, and their help is worth reading."""

import importlib.util
from pathlib import Path

import pytest
import typer

from gptfl.cli.commands import COMMANDS
from gptfl.cli.main import app

ROOT = Path(__file__).parents[1]


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "tools" / "cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert tool.reference() == written, "run python tools/cli_reference.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_each_option_does_and_gives_an_example(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert "Example: `gptfl " in command.help
    assert all(parameter.help for parameter in command.params if parameter.name != "help")
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]
