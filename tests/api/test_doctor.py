"""The whole road in one call from Python; tests/cli/test_doctor.py goes it to its end."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import gptfl
from gptfl.api.doctor import DoctorResult, as_document
from gptfl.api.doctor_plan import DoctorPlan
from gptfl.errors import DataError, UsageError
from tests.planted import plant

PLAN = DoctorPlan(8, 2, 1.0, 1.0)
RECIPE = {"workspace": "w", "device": "cpu", "lr": 3e-2, "steps": 12, "record_every": 4}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with chats to train and to test on, and a model."""
    monkeypatch.chdir(tmp_path)
    plant(tmp_path)
    monkeypatch.setattr("gptfl.api.doctor_recording.plan_for", lambda *_: PLAN)
    monkeypatch.setattr("gptfl.api.doctor_recording.replanned", lambda *_: replace(PLAN, measured=True))
    return tmp_path


def test_where_trust_is_too_low_nothing_is_proposed(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl.api.doctor.score_of", lambda *_: (0.1, -0.2, 0.3))
    stages: list[tuple[str, str, float]] = []
    (rows / "w").mkdir()
    (rows / "w" / "without-patch.txt").write_text("chat-01\n")  # of an earlier call
    found = gptfl.doctor("train.jsonl", "eval.jsonl", "chatty", announce=lambda *one: stages.append(one), **RECIPE)
    assert [name for name, _, _ in stages] == ["look", "plan", "collect", "featurize", "fit", "compare", "report"]
    assert all(seconds >= 0 for _, _, seconds in stages)
    assert stages[2][1] == "8 runs, 8 of them new"
    assert found.verdict.startswith("Nothing is proposed: 8 runs don't show")
    assert (found.patch, found.paired, found.applied) == ((), None, None)
    assert (found.skill, found.lds) == ((0.1, -0.2, 0.3), (0.1, -0.2, 0.3))
    assert found.report == Path("w/report.html")
    assert (rows / "w" / "report.html").is_file()
    assert {path.name for path in found.workspace.iterdir()} >= {"doctor.dynamics.h5", "report.html", "doctor.json"}
    assert not list(found.workspace.glob("*patch*"))
    assert not list(found.workspace.glob("*.verified.json"))
    stored = json.loads((found.workspace / "doctor.json").read_text())
    assert {name: stored[name] for name in as_document(found)} == json.loads(json.dumps(as_document(found)))


def test_an_earlier_call_is_known_by_the_options_and_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "eval.jsonl"
    for path in (train, test):
        path.write_text('{"prompt": "a", "target": "b"}\n')
    looked = SimpleNamespace(rows={"shape": "s", "to train on": 1, "to test on": 1}, notes=("n",))
    monkeypatch.setattr("gptfl.recording.inspect_data.inspect_data", lambda **_: looked)
    keys: list[str] = []
    monkeypatch.setattr("gptfl.api.doctor.read_state", lambda path, key: keys.append(key) or PLAN)

    def walk(**changes: object) -> None:
        found = gptfl.doctor(train, test, "tiny", **{**RECIPE, "workspace": tmp_path / "w", "dry_run": True, **changes})
        assert (found.verdict, found.plan, found.notes) == ("Nothing was recorded (--dry-run).", PLAN, ("n",))

    walk()
    walk()
    walk(lr=2e-2)
    walk(fdr=0.2)
    test.write_text('{"prompt": "a", "target": "c"}\n')
    walk()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert not (tmp_path / "w").exists()


def test_a_result_is_json_of_plain_values() -> None:
    found = DoctorResult("So.", PLAN, Path("w"), ("a", "é"), {"change": -0.5}, (0.5, 0.2, 0.7), None, Path("r.html"))
    document = as_document(replace(found, notes=("x",)))
    assert json.loads(json.dumps(document)) == {
        "verdict": "So.", "patch": ["a", "é"], "paired": {"change": -0.5}, "skill": [0.5, 0.2, 0.7], "lds": None,
        "report": "r.html", "applied": None, "runs": 8, "pairs": 2, "notes": ["x"],
    }  # fmt: skip


def test_rows_that_are_not_there_and_budgets_of_no_time_are_refused(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "target": "b"}\n')
    with pytest.raises(DataError, match=r"absent\.jsonl can't be read: .*: give a file of rows"):
        gptfl.doctor(rows, tmp_path / "absent.jsonl", "tiny", workspace=tmp_path / "w")
    with pytest.raises(UsageError, match="budget is 'soon'"):
        gptfl.doctor(rows, rows, "tiny", budget="soon", workspace=tmp_path / "w")
    with pytest.raises(TypeError, match="doctor has no option 'budgets': did you mean 'budget'"):
        gptfl.doctor(rows, rows, "tiny", budgets="20m")
    assert not (tmp_path / "w").exists()
