"""The list of commands, each of which is loaded when it is called."""

import ast
import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from gptfl.cli import commands
from gptfl.cli.commands import COMMANDS, group, module


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_in_a_module_of_its_name_and_begins_as_the_list_says(name: str) -> None:
    found = find_spec(module(name))
    assert found is not None
    assert found.origin is not None
    (command,) = (
        node
        for node in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "command"
    )
    docstring = ast.get_docstring(command)
    assert docstring is not None
    assert " ".join(docstring.split("\n\n")[0].split()) == COMMANDS[name]


def test_names_that_python_keeps_and_hyphens_have_modules_all_the_same() -> None:
    assert module("import") == "gptfl.cli.import_"
    assert module("new-plugin") == "gptfl.cli.new_plugin"
    assert module("fit") == "gptfl.cli.fit"


def test_every_module_with_a_command_is_listed() -> None:
    folder = Path(inspect.getfile(commands)).parent
    there = {path.stem for path in folder.glob("*.py") if "\ndef command(" in path.read_text(encoding="utf-8")}
    assert there == {module(name).rpartition(".")[2] for name in COMMANDS}


def test_a_command_is_loaded_once_and_through_the_guard() -> None:
    guarded: list[str] = []

    def guard(command: Any) -> Any:
        guarded.append(command.__module__)
        return command

    app = typer.Typer(cls=group(guard))
    app.callback()(lambda: None)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert list(known) == list(COMMANDS)
    assert len(known) == len(COMMANDS)
    assert guarded == []
    assert known["plugins"] is known["plugins"]
    assert guarded == ["gptfl.cli.plugins"]
    with pytest.raises(KeyError):
        known["colect"]


def test_the_list_loads_none_of_them() -> None:
    code = "import sys, gptfl.cli.main as main\nsys.argv = ['gptfl', '--help']\ntry:\n    main.run()\n"
    code += "except SystemExit:\n    pass\n"
    code += "print([one for one in sys.modules if one in ('gptfl.cli.fit', 'gptfl.cli.adapter', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
