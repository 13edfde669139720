"""What the commands that retrain print around their numbers."""

from types import SimpleNamespace

import pytest

from gptfl.cli import console
from gptfl.cli.study import carry_out
from gptfl.options.influence import StudyOptions
from gptfl.options.removal_study import RemovalStudyOptions

PLAN = SimpleNamespace(runs=5, runs_left=3, steps=4, batch_size=2, subset=9, test=6)


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: object, **study: bool
) -> tuple[str, str]:
    """What a study that comes to ``found`` prints."""
    monkeypatch.setattr(
        "gptfl.cli.study.announce_trainings",
        lambda plan, rows: console.say("; ".join(f"{name}={text}" for name, text in rows.items())),
    )

    def study_with(options: RemovalStudyOptions, *, progress: object, announce: object) -> object:
        if callable(announce):
            announce(PLAN)
        return found

    options = RemovalStudyOptions(study=StudyOptions(**study))
    carry_out(study_with, options, "{subset} rows", lambda one, as_json: console.say(f"shown {one.name} {as_json}"))
    told = capsys.readouterr()
    return told.out, told.err


def test_cost_notes_and_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = SimpleNamespace(name="curve", notes=("a note",), unkept=())
    out, err = printed(monkeypatch, capsys, found)
    assert out.splitlines() == [
        "trainings=5 (2 done already); each=4 steps of 2 over 9 rows, measured twice on 6 test examples",
        "shown curve False",
    ]
    assert "note: a note" in err


def test_json_comes_without_the_cost_and_a_dry_run_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SimpleNamespace(name="curve", notes=(), unkept=())
    assert printed(monkeypatch, capsys, found, as_json=True)[0] == "shown curve True\n"
    out, _ = printed(monkeypatch, capsys, None, as_json=True, dry_run=True)
    assert out.splitlines()[0].startswith("trainings=5")
    assert out.splitlines()[-1] == "Nothing was trained (--dry-run)."
