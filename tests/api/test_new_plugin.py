"""A new plugin of each kind: its own tests pass, gptfl finds it, and nothing of the user's is overwritten."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.api.new_plugin import NewPlugin, new_plugin_with
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.options.new_plugin import KINDS, NewPluginOptions
from gptfl.plugins.registry import get_registry

Write = Callable[..., NewPlugin]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a plugin, in an empty folder unless told elsewhere."""
    monkeypatch.chdir(tmp_path)
    return lambda name="my-own", **options: new_plugin_with(NewPluginOptions(name=name, **options), get_registry())


def python(*arguments: str, cwd: Path, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """What a new interpreter prints that imports from ``paths``, too."""
    before = [str(path) for path in paths]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*before, os.environ.get("PYTHONPATH", "")]).strip(":")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_plugin_pass(kind: str, write: Write) -> None:
    written = write(kind=kind)
    assert written.path == Path("gptfl-my-own")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", cwd=written.path.resolve())
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_gptfl_finds_each_by_its_entry_point(write: Write, tmp_path: Path) -> None:
    sources = []
    for kind in KINDS:
        written = write(f"my-{kind}", kind=kind)
        project = tomllib.loads((written.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        # What an installation would leave beside the package.
        info = written.path / "src" / f"gptfl_my_{kind}-{project['version']}.dist-info"
        info.mkdir()
        points = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["gptfl"].items())
        (info / "entry_points.txt").write_text(f"[gptfl]\n{points}\n", encoding="utf-8")
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(head, encoding="utf-8")
        sources.append((written.path / "src").resolve())
    done = python("-m", "gptfl", "plugins", "--json", cwd=tmp_path, paths=tuple(sources))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == []
    providers = {part["provider"]: (part["kind"], part["name"]) for part in found["parts"]}
    for kind in KINDS:
        assert providers[f"gptfl-my-{kind} 0.1.0"] == (kind, f"my-{kind}")


def test_its_files_are_those_of_the_guide(write: Write) -> None:
    written = write("gptfl-steady-pace", output="there")
    assert (written.part, written.distribution) == ("steady-pace", "gptfl-steady-pace")
    expected = [
        "README.md",
        "pyproject.toml",
        "src/gptfl_steady_pace/__init__.py",
        "src/gptfl_steady_pace/estimator.py",
        "src/gptfl_steady_pace/plugin.py",
        "tests/test_gptfl_steady_pace.py",
    ]
    there = sorted(path.relative_to("there").as_posix() for path in Path("there").rglob("*") if path.is_file())
    assert there == sorted(written.files) == expected
    assert "gptfl fit --estimator steady-pace" in Path("there/README.md").read_text(encoding="utf-8")
    assert not any("$" in (written.path / name).read_text(encoding="utf-8") for name in written.files)


@pytest.mark.parametrize(
    "name", ["", "gptfl", "gptfl-", "Letters", "my_own", "2nd", "a--b", "-a", "a-", "../a", "a b", "é", "a\n", "a" * 41]
)
def test_a_name_that_no_package_can_have_is_refused(name: str, write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"NAME is .*: give small letters and digits"):
        write(name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--kind is 'executor': give estimator, encoder, metric or task"):
        write(kind="executor")
    with pytest.raises(DataError, match="encoder 'minilm' is there already, by gptfl: choose another name"):
        write("minilm", kind="encoder")
    with pytest.raises(DataError, match="a package gptfl_tracin is there already: choose another name"):
        write("tracin")
    assert list(tmp_path.iterdir()) == []
    taken = tmp_path / "gptfl-my-own"
    taken.mkdir()
    with pytest.raises(DataError, match="gptfl-my-own is there already, and is not overwritten: give another --output"):
        write()
    assert list(taken.iterdir()) == []
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(DataError, match="link is there already"):
        write(output="link")
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="can't be written"):
        write(output="file/below")
