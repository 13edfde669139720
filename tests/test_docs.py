"""The pages: every command on them parses, every link leads somewhere, the Python on them runs."""

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from gptfl.cli.main import app
from gptfl.errors import PluginError
from gptfl.evaluation.specs import parse_spec
from gptfl.plugins.registry import get_registry
from gptfl.plugins.settings import read_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("plugins/*/*.md")]
)


def shell_lines(page: Path) -> list[str]:
    """The ``gptfl`` commands in a page's code blocks, continued lines joined; in a loop, those of its first round."""
    # Every block is matched, so that the end of one in another language is not taken for a beginning.
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    code = "\n".join(text for language, text in blocks if language in ("", "sh", "bash", "console"))
    for name, first in re.findall(r"^for (\w+) in (\S+).*; do$", code, re.MULTILINE):
        code = code.replace(f"${name}", first)
    lines = code.replace("\\\n", " ").splitlines()
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


def examples_in_help() -> list[tuple[str, str]]:
    root: Any = typer.main.get_command(app)
    return [(name, line) for name in root.commands for line in re.findall("`(gptfl .*?)`", root.commands[name].help)]


def settings_of(line: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, name and settings of each part that a command sets something of."""
    words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)
    after = list(itertools.pairwise(words))
    pairs = [value for option, value in after if option == "--set"]
    if words[1] == "compare":
        named = [pair.partition(".") for pair in pairs]
        specs = [parse_spec(value) for option, value in after if option == "--estimator"]
        given = [("estimator", name, read_settings([pair])) for name, _, pair in named]
        return given + [("estimator", name, settings) for name, settings, _ in specs]
    kind = {"featurize": "encoder", "fit": "estimator"}[words[1]]
    name = dict(after).get(f"--{kind}", {"encoder": "minilm", "estimator": "gptfluence"}[kind])
    return [(kind, name, read_settings(pairs))]


SETTING = [
    (place, line) for place, line in [*COMMANDS, *examples_in_help()] if re.search(r" --set |--estimator \S+:", line)
]


@pytest.mark.parametrize(("place", "line"), SETTING)
def test_every_setting_that_is_shown_is_one_of_its_part(place: str, line: str) -> None:
    registry = get_registry()
    for kind, name, settings in settings_of(line):
        if name in registry.names(kind):
            registry.make(kind, name, **settings)
        else:
            assert place == "writing-plugins.md", f"no {kind} {name}"


def test_settings_are_shown_and_a_wrong_one_would_be_found() -> None:
    assert {place for place, _ in SETTING} >= {"featurize", "fit", "compare", "writing-plugins.md"}
    ((kind, name, settings),) = settings_of("gptfl featurize --encoder causal-lm --set model=a --set pooling=last")
    assert settings_of("gptfl compare --estimator a --set b.c=1 --estimator d:e=2,f=g") == [
        ("estimator", "b", {"c": 1}),
        ("estimator", "a", {}),
        ("estimator", "d", {"e": 2, "f": "g"}),
    ]
    with pytest.raises(PluginError, match="encoder 'causal-lm' has no setting 'pooling'"):
        get_registry().make(kind, name, **settings)


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
    # Narrower sketches than by default, which tests/cli/test_demo.py takes.
    monkeypatch.setattr("gptfl.recording.sketch_request.DIMENSIONS", 256)
    monkeypatch.setattr("gptfl.training.gradient_sketches.WIDE", 2**13)
    exec(compile(code, "tutorial.md", "exec"), {})
    assert "mean-run 0.0" in capsys.readouterr().out
