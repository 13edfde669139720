"""What the pages for plugin authors say is so: their code runs, and every hook is there."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gptfl import testing
from gptfl.plugins import hooks, parts, registry
from gptfl.store.recordings import write_dynamics
from gptfl.store.workspace import Workspace
from tests import zygote

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "writing-plugins.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
HOOKS = [name for name, value in vars(hooks).items() if hasattr(value, "gptfl_spec")]


def files() -> dict[str, str]:
    """The code blocks that name their file."""
    return dict(re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))


def commands() -> list[str]:
    """The lines of the shell blocks."""
    return "".join(re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)).splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's distribution as a reader would have written it, installed beside itself, and a recording."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", "site", "."], cwd=folder, check=True)
    write_dynamics(Workspace.resolve(folder / "demo").dynamics_path("synthetic"), testing.make_dynamics(runs=20))
    return folder


def run(project: Path, command: str) -> str:
    """What a line of the guide prints, with this interpreter in the place of python and gptfl."""
    program, *arguments = command.split()
    start = [sys.executable] if program == "python" else [sys.executable, "-m", program]
    environment = {**os.environ, "PYTHONPATH": str(project / "site"), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    if program == "python" or arguments == ["plugins"]:
        done = subprocess.run(
            [*start, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
    else:  # the same without loading torch once a line
        done = zygote.run([*start, *arguments], cwd=project, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_guide_shows_every_file() -> None:
    assert sorted(files()) == ["gptfl_letters.py", "pyproject.toml", "test_gptfl_letters.py"]


@pytest.mark.usefixtures("copied")
def test_every_command_of_the_guide_works(project: Path) -> None:
    lines = commands()
    # The fixture stands for these two: it has installed the project, and made a recording without a model.
    elsewhere = {"pip install --editable .", "gptfl demo --workspace demo"}
    assert elsewhere < set(lines)
    printed = {line: run(project, line) for line in lines if line not in elsewhere}
    assert "2 passed" in printed["python -m pytest test_gptfl_letters.py"]
    assert printed["gptfl plugins"].count("gptfl-letters 0.1.0") == 2
    table = next(text for line, text in printed.items() if line.startswith("gptfl compare"))
    assert "steady-pace" in table
    assert "mean-run" in table


def test_the_guides_messages_are_those_of_the_registry() -> None:
    source = inspect.getsource(registry) + inspect.getsource(parts)
    for said in re.findall(r"^\| `([^`…]+)", GUIDE, re.MULTILINE):
        words = re.sub(r"'?\b(gptfl_encoder|gptfl_encoders|list|encoder|letters|minilm)\b'?", "{}", said)
        stable = max(words.split("{}"), key=len).strip()
        assert stable in source, said


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_used(hook: str) -> None:
    assert inspect.getdoc(getattr(hooks, hook))
    assert f"\n## {hook}\n" in REFERENCE
    kind = registry.HOOKS[hook]
    assert registry.build([]).names(kind), f"no plugin uses {hook}"
    section = REFERENCE.split(f"\n## {hook}\n")[1].split("\n## ")[0]
    missing = [member for member in parts.interface_members(kind) if f"| `{member}" not in section]
    assert not missing, f"docs/hooks.md does not mention {missing}"


def test_no_other_hook_is_documented() -> None:
    assert re.findall(r"^## (gptfl_\w+)", REFERENCE, re.MULTILINE) == HOOKS == list(registry.HOOKS)


@pytest.mark.parametrize("check", [name for name in testing.__all__ if name.startswith("check_")])
def test_every_check_is_documented(check: str) -> None:
    assert f"`{check}`" in REFERENCE
