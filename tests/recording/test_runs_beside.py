"""A recording whose runs lie beside it: what was interrupted goes on, and every command sees all of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gptfl import collect
from gptfl.core import Run
from gptfl.errors import DataError
from gptfl.interchange.export_recording import export
from gptfl.recording import resume
from gptfl.recording.cost import CostEstimate
from gptfl.recording.recording import open_recording
from gptfl.recording.result import CollectResult
from gptfl.store.recordings import append_run, merge_runs, read_dynamics, write_dynamics
from gptfl.store.workspace import runs_folder
from tests.synthetic import synthetic

SMALL: dict[str, Any] = {"pool": 8, "test": 3, "subset_size": 4, "batch_size": 2, "steps": 2, "lr": 1e-3, "runs": 3}


def record(model: Path, workspace: Path, **changed: Any) -> CollectResult:
    return collect(str(model), "errands", **{"workspace": workspace, **SMALL, **changed})


@pytest.fixture(scope="module")
def whole(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that nothing interrupted."""
    return record(neox, tmp_path_factory.mktemp("whole")).path


@pytest.fixture
def interrupted(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, interrupted when its second run was on disk."""

    def append(path: Path, run: Run) -> None:
        append_run(path, run)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resume, "append_run", append)
        with pytest.raises(KeyboardInterrupt):
            record(neox, tmp_path)
    return tmp_path / "errands-small-neox.dynamics.h5"


def test_what_was_interrupted_goes_on_to_the_same_recording(neox: Path, whole: Path, interrupted: Path) -> None:
    assert [path.name for path in runs_folder(interrupted).iterdir()] == ["run-0001.h5"]
    estimates: list[CostEstimate] = []
    record(neox, interrupted.parent, dry_run=True, announce=estimates.append)
    assert (estimates[0].runs, estimates[0].runs_left) == (3, 1)
    assert runs_folder(interrupted).exists()
    result = record(neox, interrupted.parent)
    assert (result.runs, result.recorded_now) == (3, 1)
    assert not runs_folder(interrupted).exists()
    assert read_dynamics(interrupted).fingerprint == read_dynamics(whole).fingerprint


def test_a_call_with_nothing_left_merges(neox: Path, interrupted: Path) -> None:
    # Killed between the last run and the merge.
    result = record(neox, interrupted.parent, runs=2)
    assert (result.runs, result.recorded_now) == (2, 0)
    assert not runs_folder(interrupted).exists()
    assert [run.index for run in read_dynamics(interrupted).runs] == [0, 1]


def test_a_damaged_run_is_recorded_again(neox: Path, whole: Path, interrupted: Path) -> None:
    path = runs_folder(interrupted) / "run-0001.h5"
    path.write_bytes(path.read_bytes()[:1000])
    for dry_run in (True, False):
        with pytest.raises(DataError, match=r"run-0001\.h5 is .*: delete that file, and gptfl collect records the run"):
            record(neox, interrupted.parent, dry_run=dry_run)
    path.unlink()
    assert record(neox, interrupted.parent).recorded_now == 2
    assert read_dynamics(interrupted).fingerprint == read_dynamics(whole).fingerprint


@pytest.mark.parametrize("dry_run", [True, False])
def test_runs_whose_recording_is_gone_are_reported_before_any_work(
    neox: Path, interrupted: Path, dry_run: bool
) -> None:
    away = interrupted.rename(interrupted.with_name("away"))
    message = r"dynamics\.h5\.runs holds runs of another recording at .*: put that recording back and go on"
    with pytest.raises(DataError, match=message):
        record(neox, interrupted.parent, dry_run=dry_run)
    away.rename(interrupted)
    assert record(neox, interrupted.parent).recorded_now == 1


def test_other_commands_see_the_runs_beside(tmp_path: Path) -> None:
    dynamics, _ = synthetic(4)
    for name in ("merged", "beside"):
        path = tmp_path / f"{name}.dynamics.h5"
        write_dynamics(path, replace(dynamics, runs=dynamics.runs[:1]))
        for run in dynamics.runs[1:]:
            append_run(path, run)
    merge_runs(tmp_path / "merged.dynamics.h5")
    found = [open_recording(tmp_path / f"{name}.dynamics.h5").dynamics.fingerprint for name in ("merged", "beside")]
    assert found == [dynamics.fingerprint] * 2
    for name in ("merged", "beside"):
        export(tmp_path / name, dynamics=tmp_path / f"{name}.dynamics.h5")
    files = {path.relative_to(tmp_path / "merged") for path in (tmp_path / "merged").rglob("*") if path.is_file()}
    for path in files - {Path("gptfl-export.json")}:
        assert (tmp_path / "merged" / path).read_bytes() == (tmp_path / "beside" / path).read_bytes()
    assert len(files) > 8
