"""Runs by several processes of this machine are those of one, and a process that is lost is replaced."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptfl.errors import DataError, PluginError, ResourceError, UsageError
from gptfl.executors import Local, crew
from gptfl.plugins.guards import make_executor, workers_of
from gptfl.plugins.registry import build
from gptfl.store.recordings import read_dynamics
from gptfl.testing import check_executor
from tests.recording.test_collect import record, same_recording
from tests.zygote import Popen

TWO = {"executor_set": {"workers": 2, "threads": 1}}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, copied: type[Popen]) -> Iterator[list[Popen]]:
    """Every process that is started meanwhile, a copy of one that has loaded torch; none is left in the end."""
    processes: list[Popen] = []

    def start(*given: Any, **named: Any) -> Popen:
        processes.append(copied(*given, **named))
        return processes[-1]

    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))
    yield processes
    assert all(process.poll() is not None for process in processes)


def test_this_process_keeps_the_promises() -> None:
    check_executor(Local)


def test_several_processes_keep_them() -> None:
    check_executor(Local, workers=2)


def test_two_processes_record_what_one_does(neox: Path, tmp_path: Path, started: list[Popen]) -> None:
    more = {"metrics": ("loss", "accuracy"), "runs": 4, "gradients": "own", "checkpoints": 2}
    more |= {"sketches": True, "sketch_points": 2, "sketch_dimensions": 24}
    alone = record(neox, tmp_path / "alone", **more)
    seen: list[tuple[int, int]] = []

    def look(what: str, done: int, total: int, note: str = "") -> None:
        if what == "collect":
            seen.append((done, total))

    both = record(neox, tmp_path / "both", **more, **TWO, progress=look)
    assert len(started) == 3  # two for runs; all gradients are one piece
    same_recording(read_dynamics(alone.path), read_dynamics(both.path))
    assert read_dynamics(alone.path).settings == read_dynamics(both.path).settings
    assert max(seen) == (16, 16)
    sketches = [read_dynamics(one.path).sketches for one in (alone, both)]
    assert sketches[0] is not None
    assert sketches[1] is not None
    assert sketches[0].fingerprint == sketches[1].fingerprint
    saved = {
        path.relative_to(tmp_path / "alone"): path.read_bytes() for path in (tmp_path / "alone").rglob("*.safetensors")
    }
    assert len(saved) == 8
    assert all((tmp_path / "both" / path).read_bytes() == data for path, data in saved.items())
    grown = record(neox, tmp_path / "alone", **{**more, "runs": 5}, **TWO)
    assert grown.recorded_now == 1


def test_a_process_killed_within_a_run_is_replaced(neox: Path, tmp_path: Path, started: list[Popen]) -> None:
    alone = record(neox, tmp_path / "alone", runs=4)

    def kill_one(what: str, done: int, total: int, note: str = "") -> None:
        if what == "collect" and len(started) == 2:
            started[0].kill()

    both = record(neox, tmp_path / "both", runs=4, **TWO, progress=kill_one)
    assert len(started) == 3
    same_recording(read_dynamics(alone.path), read_dynamics(both.path))


def test_a_run_that_diverges_is_told_as_here(neox: Path, tmp_path: Path, started: list[Popen]) -> None:
    said = []
    for name, more in (("alone", {}), ("both", TWO)):
        with pytest.raises(DataError, match="run-0000: the") as caught:
            record(neox, tmp_path / name, runs=1, lr=1e8, schedule="constant", steps=40, **more)
        said.append(str(caught.value).replace(str(tmp_path / name), ""))
    assert said[0] == said[1]
    kept = [read_dynamics(next((tmp_path / name).glob("*.diverged.h5"))) for name in ("alone", "both")]
    same_recording(*kept)


def test_ctrl_c_ends_the_processes_and_keeps_what_is_done(neox: Path, tmp_path: Path, started: list[Popen]) -> None:
    path = tmp_path / "errands-small-neox.dynamics.h5"

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "collect" and path.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(neox, tmp_path, runs=6, **TWO, progress=stop)
    assert all(process.poll() is not None for process in started)
    assert 1 <= len(read_dynamics(path).runs) < 6
    finished = record(neox, tmp_path, runs=6)
    same_recording(read_dynamics(record(neox, tmp_path / "whole", runs=6).path), read_dynamics(finished.path))


def test_threads_are_those_given_or_asked_for_or_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (Local(workers=2).threads, Local(workers=2, threads=5).threads) == (3, 5)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [Local(workers=count).threads for count in (1, 2, 20)] == [8, 4, 1]


def test_settings_are_read_and_refused(neox: Path, tmp_path: Path) -> None:
    found = build([])
    assert workers_of(make_executor(found, "local", ("workers=3",))) == 3
    assert vars(make_executor(found, "local", ("threads=2,workers=3",))) == vars(Local(workers=3, threads=2))
    for given, error, told in (
        ("workers=0", UsageError, "executor local: workers is 0"),
        (
            "workers",
            UsageError,
            "--executor-set 'workers' is not NAME=VALUE: write for example --executor-set workers=2",
        ),
        ("worker=2", PluginError, "executor 'local' has no setting 'worker': did you mean 'workers'"),
    ):
        with pytest.raises(error, match=told):
            record(neox, tmp_path, executor_set=(given,))
    with pytest.raises(UsageError, match="--processes 2 with --executor-set workers=2"):
        record(neox, tmp_path, processes=2, **TWO)


def test_what_makes_no_describable_trainer_is_told() -> None:
    with pytest.raises(PluginError, match="function makes a trainer that can't be made in another process"):
        list(Local(workers=2).execute(lambda: None, [], lambda *given: None))  # type: ignore[arg-type, return-value]


def test_checkpoints_that_a_worker_left_elsewhere_are_missed(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(self: Any, network: Any, group: Any, run: int, step: int) -> None:
        pass

    monkeypatch.setattr("gptfl.training.checkpoints.CheckpointWriter.save", elsewhere)
    with pytest.raises(
        ResourceError, match=r"run-0000 was carried out, and its checkpoints are not in .*: take a --work"
    ):
        record(neox, tmp_path, checkpoints=2, runs=1)
