"""``gptfl new-plugin`` from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_errors import refuses


def test_the_command_says_what_it_wrote_and_what_comes_next(
    gptfl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = gptfl("new-plugin", "my-own", "--kind", "metric")
    assert written.code == 0, written.err
    assert "gptfl-my-own: metric my-own, pyproject.toml, README.md" in written.out
    assert "next: cd gptfl-my-own, python -m pytest, then pip install --editable ." in written.out
    assert (tmp_path / "gptfl-my-own" / "pyproject.toml").is_file()


def test_a_folder_whose_name_the_shell_would_part_is_quoted(gptfl: Callable, tmp_path: Path) -> None:
    written = gptfl("new-plugin", "letters", "--kind", "encoder", "--output", str(tmp_path / "my plugin"))
    assert f"next: cd '{tmp_path}/my plugin', " in written.out


def test_what_can_not_be_written_is_one_line(gptfl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gptfl-my-own").mkdir()
    (tmp_path / "gptfl-my-own" / "mine.txt").write_text("mine")
    refuses(gptfl("new-plugin", "my-own", "--kind", "metric"), 3, "gptfl-my-own is there already")
    refuses(gptfl("new-plugin", "My"), 2, "NAME is 'My'")
    refuses(gptfl("new-plugin", "letters", "--kind", "optimiser"), 2, "optimiser")
