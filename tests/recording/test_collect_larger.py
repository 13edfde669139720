"""What larger models are recorded with: adapters, pieces of a batch, checkpoints; what is kept, repeated, refused."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import RecordingSettings
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.recording import resume
from gptfl.recording.cost import CostEstimate
from gptfl.store.recordings import read_dynamics
from tests.recording.test_collect import record, same_recording


def kept_in(workspace: Path) -> dict[str, bytes]:
    return {str(path.relative_to(workspace)): path.read_bytes() for path in workspace.rglob("*.safetensors")}


def test_adapters_are_recorded_and_go_on_as_they_began(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    options = {"lora": "r=2", "train_layers": 2, "lr": 1e-2}
    record(neox, tmp_path / "a", runs=1, **options, announce=estimates.append)
    grown = record(neox, tmp_path / "a", runs=3, **{**options, "lora": "alpha=4,dropout=0.05,r=2"})
    at_once = record(neox, tmp_path / "b", runs=3, **options)
    same_recording(read_dynamics(grown.path), read_dynamics(at_once.path))
    assert read_dynamics(grown.path).settings["lora"] == "r=2,alpha=4,dropout=0.05"
    assert estimates[0].trained_parameters == 2 * 2 * (32 + 96)
    assert estimates[0].notes == ("only adapters (r=2,alpha=4,dropout=0.05) in the top 2 blocks are trained",)
    with pytest.raises(DataError, match=r"recorded with --lora r=2,alpha=4,dropout=0\.05, not --lora r=3,alpha=4"):
        record(neox, tmp_path / "a", **{**options, "lora": "r=3"})
    with pytest.raises(DataError, match=r"recorded with --lora r=2,alpha=4,dropout=0\.05, not no --lora"):
        record(neox, tmp_path / "a", lr=1e-2, train_layers=2)


def test_a_batch_in_pieces_gives_the_same_recording(neox: Path, tmp_path: Path) -> None:
    whole = read_dynamics(record(neox, tmp_path / "a", runs=2).path)
    pieces = read_dynamics(record(neox, tmp_path / "b", runs=2, accumulate=2).path)
    for one, other in zip(whole.runs, pieces.runs, strict=True):
        np.testing.assert_allclose(one.metrics["loss"], other.metrics["loss"], atol=1e-4)
    with pytest.raises(DataError, match="was recorded with --accumulate 2, not --accumulate 1"):
        record(neox, tmp_path / "b", runs=3)


def test_recordings_made_before_there_were_these_settings_go_on() -> None:
    old = RecordingSettings.of({"seed": 1})
    assert old.having(lora=None, accumulate=1, processes=1, shard=False).difference(old) is None


def test_checkpoints_lie_beside_the_recording_and_only_missing_ones_are_made(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    plain = record(neox, tmp_path / "plain", runs=2)
    result = record(neox, tmp_path / "a", runs=2, checkpoints="3", announce=estimates.append)
    same_recording(read_dynamics(result.path), read_dynamics(plain.path))
    kept = kept_in(tmp_path / "a")
    folder = "errands-small-neox.checkpoints"
    assert sorted(kept) == [f"{folder}/run-000{r}/step-00000{s}.safetensors" for r in (0, 1) for s in (0, 2, 4)]
    assert estimates[0].checkpoint_bytes == 2 * 3 * 4 * estimates[0].trained_parameters
    assert sum(map(len, kept.values())) == pytest.approx(estimates[0].checkpoint_bytes, rel=0.1)
    (length,) = struct.unpack("<Q", kept[f"{folder}/run-0001/step-000002.safetensors"][:8])
    about = json.loads(kept[f"{folder}/run-0001/step-000002.safetensors"][8 : 8 + length])["__metadata__"]
    about = json.loads(about["gptfl"])
    assert (about["kind"], about["run"], about["step"]) == ("gptfl-checkpoint", 1, 2)
    assert about["weights"] == read_dynamics(result.path).settings["weights"]
    before = result.path.read_bytes()
    assert record(neox, tmp_path / "a", runs=2, checkpoints=3).recorded_now == 0
    untouched = tmp_path / "a" / folder / "run-0000" / "step-000002.safetensors"
    stamp = untouched.stat().st_mtime_ns
    (tmp_path / "a" / folder / "run-0001" / "step-000004.safetensors").unlink()
    again = record(neox, tmp_path / "a", runs=2, checkpoints="3")
    assert again.recorded_now == 0
    assert again.notes[0] == "1 recorded run was carried out again for checkpoints that were missing"
    assert kept_in(tmp_path / "a") == kept
    assert untouched.stat().st_mtime_ns == stamp
    assert result.path.read_bytes() == before
    # Asked for later, they are the same as at once.
    assert record(neox, tmp_path / "plain", runs=2, checkpoints="3").estimate is not None
    assert kept_in(tmp_path / "plain") == kept


def test_a_recording_that_is_interrupted_ends_with_the_same_checkpoints(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(neox, tmp_path / "whole", runs=3, checkpoints="all")
    keep = resume.RecordingJob.keep

    def stop(job: resume.RecordingJob, run: Any) -> None:
        if run.index == 1:
            raise KeyboardInterrupt
        keep(job, run)

    monkeypatch.setattr(resume.RecordingJob, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        record(neox, tmp_path / "cut", runs=3, checkpoints="all")
    monkeypatch.undo()
    record(neox, tmp_path / "cut", runs=3, checkpoints="all")
    assert kept_in(tmp_path / "cut") == kept_in(tmp_path / "whole")
    assert len(kept_in(tmp_path / "cut")) == 15


def test_checkpoints_of_an_earlier_recording_are_not_taken_for_these(neox: Path, tmp_path: Path) -> None:
    first = record(neox, tmp_path, runs=1, checkpoints="2")
    stale = kept_in(tmp_path)
    first.path.unlink()
    record(neox, tmp_path, runs=1, lr=1e-2)
    record(neox, tmp_path, runs=1, lr=1e-2, checkpoints="2")
    fresh = kept_in(tmp_path)
    assert fresh.keys() == stale.keys()
    assert all(fresh[name] != stale[name] for name in fresh)


def test_checkpoints_that_no_disk_holds_are_refused_after_the_plan(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    for dry_run in (True, False):
        estimates: list[CostEstimate] = []
        with pytest.raises(ResourceError, match=r"--checkpoints: they take .* GB and .* has 1e-09 GB free"):
            record(neox, tmp_path, checkpoints="all", dry_run=dry_run, announce=estimates.append)
        assert estimates[0].checkpoint_bytes > 0
    assert not list(tmp_path.rglob("*.h5"))
    assert not kept_in(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lora": "r=0"}, "--lora 'r=0': r is 0"),
        ({"lora": "rank=8"}, "--lora 'rank=8'"),
        ({"precision": "fp16"}, "--precision fp16 on cpu"),
        ({"accumulate": 0}, "accumulate is 0: give at least 1"),
        ({"processes": 0}, "processes is 0: give at least 1"),
        ({"checkpoints": "some"}, "--checkpoints 'some'"),
        ({"shard": True}, "--shard spreads a model over several processes"),
    ],
)
def test_settings_that_make_no_sense(neox: Path, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        record(neox, tmp_path, **{"device": "cpu", **changed})
    assert list(tmp_path.iterdir()) == []
