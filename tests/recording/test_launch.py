"""Recordings by several processes, from the call to the file; and how they end when one of them does."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError, GptflError, ResourceError
from gptfl.options.base import make
from gptfl.options.recording import CollectOptions
from gptfl.recording import launch as launching
from gptfl.recording.cost import CostEstimate
from gptfl.recording.launch import launch
from gptfl.store.recordings import read_dynamics
from tests.recording.test_collect import record, same_recording
from tests.zygote import Popen


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, quick: None) -> Iterator[list[subprocess.Popen[str]]]:
    """Every process that is started meanwhile."""
    real = launching.start_process
    processes: list[subprocess.Popen[str]] = []

    def start(*given: Any) -> subprocess.Popen[str]:
        processes.append(real(*given))
        return processes[-1]

    monkeypatch.setattr(launching, "start_process", start)
    yield processes
    assert all(process.poll() is not None for process in processes)


def test_two_processes_record_as_one_and_an_end_of_one_ends_all(
    neox: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    alone = read_dynamics(record(neox, tmp_path / "alone", runs=6, metrics=("loss", "accuracy")).path)
    estimates: list[CostEstimate] = []
    seen: list[tuple[str, int, int]] = []
    both = {"metrics": ("loss", "accuracy"), "processes": 2, "runs": 6}

    def kill_one(what: str, done: int, total: int, note: str = "") -> None:
        if what == "collect" and done == 10:  # in the third run
            started[1].kill()

    with pytest.raises(ResourceError, match=r"process 2 of 2 was ended by SIGKILL: finished runs are kept, the same"):
        record(neox, tmp_path / "two", **both, progress=kill_one)
    path = tmp_path / "two" / "errands-small-neox.dynamics.h5"
    assert 2 <= len(read_dynamics(path).runs) < 6
    result = record(
        neox, tmp_path / "two", **both, announce=estimates.append, progress=lambda what, *rest: seen.append((what, *rest[:2]))
    )  # fmt: skip
    assert result.path == path
    assert result.runs == 6
    assert result.estimate == estimates[0]
    assert estimates[0].processes == 2
    assert estimates[0].notes == ()
    assert ("collect", estimates[0].runs_left * 4, estimates[0].runs_left * 4) in seen
    assert result.collected is not None
    assert result.collected.moved.keys() == {"loss", "accuracy"}
    recorded = read_dynamics(path)
    for run, expected in zip(recorded.runs, alone.runs, strict=True):
        np.testing.assert_array_equal(run.curriculum.batches, expected.curriculum.batches)
        for name, values in expected.metrics.items():
            np.testing.assert_allclose(run.metrics[name], values, atol=1e-4)
    whole = record(neox, tmp_path / "whole", **both)
    same_recording(recorded, read_dynamics(whole.path))
    with pytest.raises(DataError, match="was recorded with --processes 2, not --processes 1"):
        record(neox, tmp_path / "two", metrics=("loss", "accuracy"), runs=7)


def test_a_refusal_is_the_callers(tmp_path: Path) -> None:
    options = make(CollectOptions, model="pythia-411m", task="errands", workspace=tmp_path)
    with pytest.raises(DataError, match="unknown model 'pythia-411m': did you mean 'pythia-410m'") as caught:
        launch(options, lambda *given: None, None)
    assert type(caught.value) is DataError


COLLECT = ("--task", "errands", "--runs", "600", "--pool", "12", "--test", "6", "--steps", "4", "--processes", "2")


# The command line, in a process that starts copies of itself in the place of new interpreters and notes their numbers.
COPYING = """
import subprocess
from types import SimpleNamespace
from gptfl.executors import crew
from tests import zygote

numbers = open("numbers", "w")
def start(*given, **options):
    process = zygote.Popen(*given, **options)
    print(process.pid, file=numbers, flush=True)
    return process

zygote.begin()
crew.subprocess = SimpleNamespace(Popen=start, PIPE=subprocess.PIPE)
from gptfl.__main__ import run
run()
"""


def test_ctrl_c_ends_all_processes_and_keeps_the_finished_runs(neox: Path, tmp_path: Path, copied: type[Popen]) -> None:
    path = tmp_path / "errands-small-neox.dynamics.h5"
    command = [sys.executable, "-c", COPYING, "collect", "--model", str(neox), *COLLECT, "-w", str(tmp_path)]
    process = copied(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 200
        while not path.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        children = [int(pid) for pid in (tmp_path / "numbers").read_text().split()]
        assert all(map(_runs, children))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.endswith("interrupted: finished runs are kept, the same command goes on from there\n")
    assert "Traceback" not in err
    assert len(children) == 2
    assert not any(map(_runs, children))
    assert len(read_dynamics(path).runs) >= 1


def _runs(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_of_all_that_fails_the_cause_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process breaks the group in the other, which may tell of that first."""

    class Ended:
        stdout: tuple[str, ...] = ()

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(launching, "SETTLING", 1.0)
    crew = launching._WorkerPool([Ended(), Ended()], sys.stderr, lambda: "all is kept")  # type: ignore[list-item]
    broken = crew.failure(0, {"kind": "crashed", "trace": "connection closed"})
    assert broken is not None
    threading.Timer(0.2, crew.words.put, [(1, {"kind": "ended", "code": -9})]).start()
    reason = crew.reason(broken)
    assert isinstance(reason, ResourceError)
    assert "process 2 of 2 was ended by SIGKILL" in reason.problem
    assert reason.remedy.startswith("all is kept; ")
    assert "--shard" in reason.remedy
    assert crew.failure(1, {"kind": "ended", "code": 0}) is None
    assert crew.failure(1, {"kind": "progress", "given": []}) is None
    refused = crew.failure(1, {"kind": "refused", "error": "UsageError", "problem": "p", "remedy": "r"})
    assert refused is not None
    assert isinstance(refused.error, GptflError)
    assert str(refused.error) == "p: r"
