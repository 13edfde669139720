"""Going on with a recording: what an interruption or a kill leaves, and that its runs must be those of its design."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics
from gptfl.designs import draws
from gptfl.errors import DataError, ResourceError
from gptfl.interruption import left_by
from gptfl.recording import resume
from gptfl.recording.resume import KEPT, NONE_KEPT
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import Workspace
from tests.recording.test_collect import record, same_recording
from tests.zygote import Popen

SMALL = {"pool": 12, "test": 2, "steps": 4, "batch_size": 3, "lr": 1e-2, "design": "leave-small:0.25"}


def emptied(batches, without, seed):
    return np.where(np.isin(batches, without), -1, batches)


def test_runs_of_a_design_that_dealt_otherwise_are_not_gone_on_with(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as former:
        former.setattr(draws, "refill", emptied)
        path = Path(gptfl.collect(str(neox), "errands", runs=4, workspace=tmp_path, **SMALL).path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"run-0002 was trained on other batches .* by --design leave-small") as caught:
        gptfl.collect(str(neox), "errands", runs=6, workspace=tmp_path, **SMALL)
    assert "another --name" in caught.value.remedy
    assert path.read_bytes() == before
    # The whole pool is dealt as before, and its runs are.
    with monkeypatch.context() as former:
        former.setattr(draws, "refill", emptied)
        gptfl.collect(str(neox), "errands", runs=2, workspace=tmp_path, name="wholes", **SMALL)
    grown = gptfl.collect(str(neox), "errands", runs=4, workspace=tmp_path, name="wholes", **SMALL)
    assert (grown.runs, grown.recorded_now) == (4, 2)


class _Stop(BaseException):
    """Ends a recording in the place of Ctrl-C."""


@pytest.mark.parametrize(("done", "message"), [(3, NONE_KEPT), (6, KEPT)])
def test_what_is_reported_of_an_interruption_is_the_case(neox: Path, tmp_path: Path, done: int, message: str) -> None:
    def stop(what: str, steps: int, total: int, note: str = "") -> None:
        if what == "collect" and steps == done:  # of four a run
            raise _Stop

    space = tmp_path / "new" / "space"
    with pytest.raises(_Stop) as caught:
        record(neox, space, progress=stop)
    assert left_by(caught.value) == message
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ([] if message == NONE_KEPT else ["errands-small-neox.dynamics.h5", "new", "space"])


def test_a_diverging_run_is_kept_apart_and_the_finished_ones_stay(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gptfl.training.trainer import RecordingTrainer

    calm = RecordingTrainer.step
    seen = []

    def step(self: RecordingTrainer, optimiser: Any, batch: Any, rate: float) -> Any:
        loss = calm(self, optimiser, batch, rate)
        seen.append(rate)
        return loss * float("nan") if rate > 0 and sum(r > 0 for r in seen) == 7 else loss

    monkeypatch.setattr(RecordingTrainer, "step", step)
    with pytest.raises(
        DataError, match=r"run-0001: the loss of the batch is nan at step 3 of 4 .*lower --lr.*diverged\.h5"
    ):
        record(neox, tmp_path)
    assert [run.index for run in read_dynamics(tmp_path / "errands-small-neox.dynamics.h5").runs] == [0]
    (partial,) = read_dynamics(tmp_path / "errands-small-neox.run-0001.diverged.h5").runs
    assert (partial.index, partial.curriculum.steps) == (1, 2)
    monkeypatch.undo()
    record(neox, tmp_path)
    fresh = record(neox, tmp_path / "fresh")
    same_recording(read_dynamics(tmp_path / "errands-small-neox.dynamics.h5"), read_dynamics(fresh.path))


def test_a_second_process_stops_with_a_clear_message(neox: Path, tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        from gptfl.store.workspace import Workspace
        with Workspace(Path({str(tmp_path)!r})).lock("gptfl collect"):
            print("locked", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(ResourceError, match=rf"another gptfl collect \(process {holder.pid}\) is writing to"):
            record(neox, tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert record(neox, tmp_path).recorded_now == 3


NURSERY = """
import os, sys
import torch
torch.set_num_threads(1)
import gptfl.training.load, gptfl.recording.cost, gptfl.training.trainer
from gptfl import collect
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        collect(sys.argv[1], "errands", workspace=sys.argv[2], runs=8, pool=12, test=5, subset_size=6,
                batch_size=3, steps=4, lr=1e-3)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Forks a process that records for every line it reads: no kill has to wait for torch to load."""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the nursery's children have: with more, sums are rounded otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_recording_loses_no_finished_run_and_ends_the_same(
    neox: Path, tmp_path: Path, copied: type[Popen]
) -> None:
    """Real processes are killed at random moments until the recording is complete."""
    begun = time.perf_counter()
    whole = record(neox, tmp_path / "whole", runs=8)
    # About as long as a run takes here, so that the first are killed within one, on a fast machine as on a slow one.
    longest = (time.perf_counter() - begun) / 8
    workspace = tmp_path / "killed"
    path = Workspace(workspace).dynamics_path("errands-small-neox")
    moments = random.Random(11)
    command = [sys.executable, "-c", NURSERY, str(neox), str(workspace)]
    nursery = copied(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdout.readline()
    kills = known = 0
    while known < 8:
        print(file=nursery.stdin, flush=True)
        child = int(nursery.stdout.readline())
        time.sleep(moments.uniform(0.0, longest))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        kills += int(nursery.stdout.readline()) == signal.SIGKILL
        if path.exists():
            runs = read_dynamics(path).runs
            assert len(runs) >= known
            known = len(runs)
        longest *= 1.15
    nursery.communicate()
    assert kills >= 5
    final = record(neox, workspace, runs=8)
    same_recording(read_dynamics(final.path), read_dynamics(whole.path))
    assert not [p for p in workspace.iterdir() if p.name.endswith(".part")]


def test_a_recording_that_goes_on_is_read_once(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Dynamics:
        read.append(path)
        return read_dynamics(path)

    record(neox, tmp_path, runs=1)
    monkeypatch.setattr(resume, "read_dynamics", reading)
    for runs, new in ((2, 1), (2, 0), (2, 0)):
        read.clear()
        result = record(neox, tmp_path, runs=runs, checkpoints=2)
        assert (result.runs, result.recorded_now) == (2, new)
        assert len(read) == 1
    assert [run.index for run in read_dynamics(result.path).runs] == [0, 1]
