"""The pages: every command on them parses, every link leads somewhere, the Python on them runs."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from gptfl.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("plugins/*/*.md")]
)


def shell_lines(page: Path) -> list[str]:
    """The ``gptfl`` commands in a page's code blocks, continued lines joined."""
    blocks = re.findall(
        r"^```(?:sh|bash|console)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("   #")[0].removeprefix("$ ").strip() for line in lines if re.match(r"(\$ )?gptfl ", line)]


COMMANDS = [(page.name, line) for page in PAGES for line in shell_lines(page)]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_on_a_page_parses(page: str, line: str) -> None:
    root: Any = typer.main.get_command(app)
    words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)[1:]
    if words[0].startswith("-"):
        return
    command = root.commands[words[0]]
    command.make_context(words[0], words[1:])


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_the_python_of_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "tutorial.md", "exec"), {})
    assert "'mean-run': 0.0" in capsys.readouterr().out
