"""A share of tools/fuzz_files.py: hostile files of every kind are taken or refused in one line."""

import importlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
FILES = 40
CHEAP = ("inspect", "export", "import", "select", "rank")
"""Commands that take well under a second; the tool itself tries the others, too."""


@pytest.fixture(scope="module")
def fuzz() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("fuzz_files")


@pytest.fixture(scope="module")
def base(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    fuzz.hostile_files.make_small_base(folder)
    return folder


def test_hostile_files_are_taken_or_refused_in_one_line(
    fuzz: ModuleType, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [
        replace(kind, commands=cheap)
        for kind in fuzz.hostile_files.kinds()
        if (cheap := tuple(one for one in kind.commands if one.startswith(CHEAP) and "@model" not in one))
    ]
    monkeypatch.setattr(fuzz.hostile_files, "kinds", lambda: kinds)
    monkeypatch.setattr(fuzz, "measured", fuzz.unmeasured)
    monkeypatch.setattr(fuzz.hostile_files, "BOMBS", False)
    tried = [one for number in range(FILES) for one in fuzz.try_file(number, 7, base, {})]
    assert [one for one in tried if one.fault] == []
    assert sum(bool(one.error) for one in tried) > FILES / 4
    assert any(not one.error for one in tried)


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (0, "note: x\n", ""),
        (0, "load model: 0 of 1 x\nnote: x\n", ""),
        (3, "error: x: y\n", ""),
        (1, "Traceback (most recent call last):\nValueError: x\n", "traceback: ValueError: x"),
        (3, "error: x\nmore\n", "not one line"),
        (0, "RuntimeWarning: overflow\n", "on stderr"),
        (3, "error: \x1b[31m\n", "a terminal would obey U+001B"),
        (7, "error: x\n", "exit code 7"),
        (5, "error: x\n", ""),
        (5, "error: memory is full\n", "memory ran out"),
    ],
)
def test_faults_are_seen(fuzz: ModuleType, code: int, err: str, fault: str) -> None:
    assert fuzz.fault_of(code, "", err).startswith(fault)
    assert bool(fuzz.fault_of(code, "", err)) == bool(fault)


def test_the_base_is_made_where_there_is_none(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        for name in fuzz.hostile_files.lacking_in(folder):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    monkeypatch.setattr(fuzz.hostile_files, "make_base", make)
    (tmp_path / "empty").mkdir()
    for base in (tmp_path / "empty", tmp_path / "none", tmp_path / "none"):
        assert fuzz.ready_base(base) == base
    assert made == [tmp_path / "empty", tmp_path / "none"]
    (tmp_path / "none" / "ids.txt").unlink()
    for base in (tmp_path / "none", tmp_path / "none" / "test.txt"):
        with pytest.raises(SystemExit, match=r"lacks .*: name a folder that is empty or that this script filled"):
            fuzz.ready_base(base)


def test_no_child_outlives_who_asked(fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(writing: int, *_: object) -> None:
        one = fuzz.asdict(fuzz.Outcome(0, "a", "", str(os.getpid()), "", "", 0.0, 0))
        os.write(writing, (json.dumps([one]) + "\n").encode())
        time.sleep(60)
        os._exit(0)

    monkeypatch.setattr(fuzz, "serve", serve)
    tried = fuzz.outcomes(tmp_path, {}, [0, 1], 0)
    child = int(next(tried).what)
    os.kill(child, 0)
    tried.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
