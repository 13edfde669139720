"""Runs as jobs, by submitit's own local cluster: the same as here, whatever becomes of a job."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("submitit", reason="submitit is not installed")

from gptfl import collect, testing
from gptfl.errors import PluginError, ResourceError, UsageError
from gptfl.plugins import Outcome, Unit, Work
from gptfl.plugins.guards import workers_of
from gptfl.plugins.registry import build
from gptfl.store.recordings import read_dynamics
from gptfl.testing.executors import PretendedTrainers
from gptfl_slurm import executor as module
from gptfl_slurm import queue
from gptfl_slurm.executor import Slurm
from gptfl_slurm.files import Folder
from gptfl_slurm.job import CarryOut
from tests.models import neox  # noqa: F401

SMALL: dict[str, Any] = {"runs": 3, "pool": 12, "test": 5, "steps": 4, "batch_size": 3}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"cluster": "local", "folder": str(tmp_path / "jobs"), "poll_seconds": 0.05}


def _work(**changed: Any) -> Work:
    return Work(kind="check", settings=dict(vars(PretendedTrainers(""))), **changed)


def _units(count: int) -> list[Unit]:
    return [Unit(index, {"echo": True}, {"a": np.arange(3)}) for index in range(count)]


def _still(index: int, done: int, total: int) -> None:
    pass


def test_the_promises_are_kept(settings: dict[str, Any]) -> None:
    testing.check_executor(Slurm, **settings, runs_per_job=3)


def test_what_jobs_left_is_taken_by_the_next_call(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made, units = Slurm(**settings), _units(3)
    files = Folder.of(made.folder, _work(threads=1))
    names = files.add(units)
    CarryOut(str(files.path), list(names)[:2])()
    # A unit that failed is carried out again.
    failed = Outcome(units[1].index, failure={"error": "ResourceError", "problem": "full", "remedy": "wait"})
    files.keep(list(names)[1], failed)
    submitted: list[list[str]] = []
    real = queue.Queue.submit

    def submit(self: Any, folder: Path, groups: Any) -> Any:
        submitted.extend(groups)
        return real(self, folder, groups)

    monkeypatch.setattr(queue.Queue, "submit", submit)
    found = list(made.perform(_work(), units, _still))
    assert sorted(one.index for one in found) == [0, 1, 2]
    assert submitted == [[name] for name in list(names)[1:]]
    assert list(made.folder.iterdir()) == []


def test_other_work_has_another_folder(settings: dict[str, Any]) -> None:
    root = Path(settings["folder"])
    first, second = (Folder.of(root, _work(threads=threads)) for threads in (1, 2))
    assert first.path != second.path
    assert first.work() == _work(threads=1)
    assert first.add(_units(1)).keys() == second.add(_units(1)).keys()
    assert first.add([Unit(0, {"echo": True}, {"a": np.arange(4)})]).keys() != second.add(_units(1)).keys()


def test_a_job_goes_on_with_what_lacks_and_is_still_asked_for(settings: dict[str, Any]) -> None:
    files = Folder.of(Path(settings["folder"]), _work())
    names = list(files.add(_units(3)))
    files.forget(names[0])
    kept = Outcome(1, {"kept": True})
    files.keep(names[1], kept)
    CarryOut(str(files.path), names)()
    assert files.outcome(names[0]) is None
    assert files.outcome(names[1]) == kept
    assert files.outcome(names[2]).index == 2  # type: ignore[union-attr]


class Preempting(queue.Queue):
    """Tells each job once that it is preempted, as Slurm does."""

    told: list[Any]
    submitted: list[int]

    def submit(self, folder: Path, groups: Any) -> list[Any]:
        self.submitted.append(len(groups))
        return super().submit(folder, groups)

    def ended(self, jobs: Any) -> list[Any]:
        for job in jobs:
            worker = _listening(int(job.job_id))
            if job not in self.told and worker is not None:
                self.told.append(job)
                os.kill(worker, signal.SIGUSR2)
        return super().ended(jobs)


def _listening(process: int) -> int | None:
    """What a job's process has started, as soon as it heeds the signal."""
    started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    for one in started:
        heeded = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{one}/status").read_text())
        if heeded is not None and int(heeded[1], 16) >> (signal.SIGUSR2 - 1) & 1:
            return int(one)
    return None


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_a_recording_by_jobs_is_that_of_this_process_even_if_one_is_preempted(
    neox: Path,  # noqa: F811
    tmp_path: Path,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "Queue", Preempting)
    Preempting.told, Preempting.submitted = [], []
    here = collect(str(neox), "errands", workspace=tmp_path / "here", **SMALL)
    there = collect(
        str(neox),
        "errands",
        workspace=tmp_path / "there",
        executor="slurm",
        executor_set={**settings, "runs_per_job": 3},
        **SMALL,
    )
    assert read_dynamics(here.path).fingerprint == read_dynamics(there.path).fingerprint
    assert (len(Preempting.told), Preempting.submitted) == (1, [1])
    assert list((tmp_path / "jobs").iterdir()) == []


class Hopeless(queue.Queue):
    """Has jobs that do nothing."""

    def submit(self, folder: Path, groups: Any) -> list[Any]:
        return super().submit(folder, [[] for _ in groups])


def test_jobs_that_end_in_vain_are_given_up(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Queue", Hopeless)
    with pytest.raises(ResourceError, match=r"ended without unit 0, the 4th so: .*more timeout_min, and memory mem_gb"):
        list(Slurm(**settings, workers=1).perform(_work(), _units(1), _still))


class Slow(queue.Queue):
    """Has jobs that are not heard of."""

    cancelled: list[Any]

    def submit(self, folder: Path, groups: Any) -> list[Any]:
        return [object() for _ in groups]

    def ended(self, jobs: Any) -> list[Any]:
        return []

    def cancel(self, jobs: Any) -> None:
        self.cancelled.extend(jobs)

    def see_off(self, jobs: Any) -> None:
        pass


def test_ctrl_c_cancels_the_jobs_and_steps_are_reported(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow.cancelled = []
    monkeypatch.setattr(module, "Queue", Slow)
    made = Slurm(**settings, workers=2)
    files = Folder.of(made.folder, _work(threads=1))
    names = list(files.add(_units(4)))
    files.say(names[1], 2, 9)
    seen: list[tuple[int, int, int]] = []

    def stop(*step: int) -> None:
        seen.append(step)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(made.perform(_work(), _units(4), stop))
    assert seen == [(1, 2, 9)]
    assert len(Slow.cancelled) == 2


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that stand for Slurm's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def _command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


class Named:
    """A job with a number."""

    def __init__(self, number: str) -> None:
        self.job_id = number


def test_slurm_is_asked_which_jobs_are_there(commands: Path, tmp_path: Path) -> None:
    _command(commands, "sbatch", "exit 1")
    _command(commands, "srun", "exit 1")
    _command(commands, "squeue", 'printf "7_1\\n8\\n"')
    made = queue.Queue("slurm", tmp_path / "logs", {"timeout_min": 1}, "executor slurm")
    jobs = [Named("7_0"), Named("7_1"), Named("8"), Named("9")]
    assert [job.job_id for job in made.ended(jobs)] == ["7_0", "9"]
    _command(commands, "squeue", "exit 1")
    assert made.ended(jobs) == []


def test_what_slurm_refuses_is_one_line(commands: Path, tmp_path: Path) -> None:
    _command(commands, "sbatch", "echo 'sbatch: error: invalid partition specified: fast' >&2; exit 1")
    _command(commands, "srun", "exit 1")
    _command(commands, "squeue", "exit 0")
    settings = {"folder": str(tmp_path / "jobs"), "partition": "fast", "poll_seconds": 0.05}
    with pytest.raises(ResourceError, match=r"executor slurm: Slurm takes no job: .*invalid partition specified: fast"):
        list(Slurm(**settings).perform(_work(), _units(2), _still))


def test_an_array_is_submitted_with_what_was_asked_for(commands: Path, tmp_path: Path) -> None:
    _command(commands, "sbatch", f'cp "$1" {tmp_path}/submitted; echo "Submitted batch job 12"')
    _command(commands, "srun", "exit 1")
    asked = Slurm(
        folder=str(tmp_path), partition="gpu", gres="gpu:1", timeout_min=90, workers=4, mem_gb=1.5, more={"nice": 7}
    )
    made = queue.Queue("slurm", tmp_path / "logs", asked.limits, "executor slurm")
    jobs = made.submit(tmp_path, [["a"], ["b"], ["c"]])
    assert [job.job_id for job in jobs] == ["12_0", "12_1", "12_2"]
    script = (tmp_path / "submitted").read_text()
    for line in ("--partition=gpu", "--gres=gpu:1", "--time=90", "--array=0-2%3", "--mem=1536MB", "--nice=7"):
        assert f"#SBATCH {line}\n" in script


def test_settings_are_checked_and_slurm_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gptfl_slurm.plugin

    found = build([gptfl_slurm.plugin])
    assert found.names("executor") == ["local", "slurm"]
    made = found.make("executor", "slurm", cpus_per_task=3)
    assert (workers_of(made), made.threads, made.limits["timeout_min"]) == (None, 3, 60)
    assert workers_of(found.make("executor", "slurm", workers=8)) == 8
    for wrong, told in (
        ({"timeout_min": 0}, "executor slurm: timeout_min is 0"),
        ({"cluster": "cloud"}, "executor slurm: cluster is 'cloud'"),
        ({"more": 3}, "executor slurm: more is 3"),
    ):
        with pytest.raises(UsageError, match=told):
            found.make("executor", "slurm", **wrong)
    with pytest.raises(PluginError, match="executor 'slurm' has no setting 'partitions': did you mean 'partition'"):
        found.make("executor", "slurm", partitions="gpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ResourceError, match="this machine has no sbatch: run gptfl where Slurm's commands are"):
        list(Slurm(folder=str(tmp_path / "jobs")).perform(_work(), _units(1), _still))


def test_the_plugin_is_light(tmp_path: Path) -> None:
    code = "import sys, gptfl_slurm.plugin; print('submitit' in sys.modules)"
    done = subprocess.run([*_python(), code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _python() -> list[str]:
    import sys

    return [sys.executable, "-c"]
