"""Processes of this machine that carry out units of work: started, given units, heard, and replaced where one is lost.

What they say and hear is a line each: ``pack``'s bytes in base64. A process reads its lines from a pipe that closes when
this process ends, however it ends, and ends with it.
"""

import base64
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np

from gptfl.errors import ResourceError
from gptfl.plugins.work import OnStep, Outcome, Unit, Work, pack, unpack

LOSSES = 3
"""How often a unit's process may be lost: its fourth is not begun, for the unit itself is likely at fault."""


def to_line(kind: str, known: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> str:
    """A word between the processes, as one line.

    Args:
        kind: what the word is about.
        known: JSON-able values.
        arrays: named arrays.
    """
    return base64.b64encode(pack({"word": kind, "known": known}, arrays or {})).decode() + "\n"


def from_line(line: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """What ``to_line`` made a line of."""
    said, arrays = unpack(base64.b64decode(line))
    return said["word"], said["known"], arrays


def devices(device: str) -> list[str]:
    """The GPUs of which each process gets one, as CUDA_VISIBLE_DEVICES names them; none for another device."""
    if device != "cuda":
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [one for one in given.split(",") if one]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass
class _Worker:
    """One process, and the unit that it has."""

    number: int
    process: "subprocess.Popen[str]"
    ear: threading.Thread | None = None
    unit: Unit | None = None

    def say(self, line: str) -> None:
        """Give it a line; that it is gone is heard elsewhere."""
        assert self.process.stdin is not None  # opened as a pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def end(self) -> None:
        """End it, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None  # opened as a pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.ear is not None:
            self.ear.join()


@dataclass
class _Crew:
    """The processes, what they say, and what is still to be carried out."""

    work: Work
    noise: IO[str]
    gpus: list[str]
    units: Iterator[Unit]
    workers: dict[int, _Worker] = field(default_factory=dict)
    words: "queue.Queue[tuple[_Worker, str | None]]" = field(default_factory=queue.Queue)
    lost: "deque[Unit]" = field(default_factory=deque)
    losses: dict[int, int] = field(default_factory=dict)

    def start(self, number: int) -> None:
        """Start a process that begins the work, and give it a unit; none where nothing is left."""
        unit = self._next()
        if unit is None:
            return
        gpu = self.gpus[number % len(self.gpus)] if self.gpus else None
        worker = self.workers[number] = _Worker(number, start_process(self.work.threads or 1, gpu, self.noise))
        worker.ear = threading.Thread(target=self._hear, args=(worker,), daemon=True)
        worker.ear.start()
        worker.say(to_line("work", self.work.to_json()))
        self._give(worker, unit)

    def _hear(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None  # opened as a pipe
        with worker.process.stdout:
            for line in worker.process.stdout:
                self.words.put((worker, line))
        self.words.put((worker, None))

    def _next(self) -> Unit | None:
        return self.lost.popleft() if self.lost else next(self.units, None)

    def _give(self, worker: _Worker, unit: Unit) -> None:
        worker.unit = unit
        worker.say(to_line("unit", {"index": unit.index, "settings": dict(unit.settings)}, dict(unit.arrays)))

    def go_on(self, worker: _Worker) -> None:
        """Give a process that has done its unit the next one, or let it go."""
        unit = self._next()
        if unit is None:
            worker.unit = None
            self.workers.pop(worker.number).end()
        else:
            self._give(worker, unit)

    def replace(self, worker: _Worker) -> None:
        """Start another process in the place of one that was lost with its unit.

        Raises ``ResourceError`` where that unit has lost so many that it is likely at fault itself.
        """
        unit, code = worker.unit, worker.process.wait()
        worker.end()
        if self.workers.get(worker.number) is not worker or unit is None:
            return
        del self.workers[worker.number]
        self.losses[unit.index] = self.losses.get(unit.index, 0) + 1
        if self.losses[unit.index] > LOSSES:
            raise ResourceError(
                f"the process of unit {unit.index} {self._end(code)}, {LOSSES + 1} times", self._hint(code)
            )
        self.lost.append(unit)
        self.start(worker.number)

    def _end(self, code: int) -> str:
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        self.noise.seek(0)
        said = self.noise.read().strip().splitlines()[-1:]
        return f"ended with exit code {code}: {''.join(said)}"

    @staticmethod
    def _hint(code: int) -> str:
        many = "if memory ran out, ask for fewer workers; "
        return f"{many if code == -signal.SIGKILL else ''}the same command goes on from what is kept"


def carry_out_by_processes(
    work: Work, units: Iterable[Unit], on_step: OnStep, *, workers: int, threads: int
) -> Iterator[Outcome]:
    """Yield what each unit came to as soon as it is done; the processes are gone when this ends, however it ends.

    Args:
        work: what the units are of.
        units: the units, of which each is taken when a process is free for it.
        on_step: called with a unit's index, the steps done and how many there are.
        workers: how many processes.
        threads: with how many threads each computes.

    Raises ``ResourceError`` where a unit's process is lost again and again.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as noise:
        crew = _Crew(replace(work, threads=threads), noise, devices(work.device), iter(units))
        try:
            for number in range(workers):
                crew.start(number)
            while crew.workers:
                worker, line = crew.words.get()
                if line is None:
                    crew.replace(worker)
                    continue
                kind, known, arrays = from_line(line)
                if kind == "step":
                    on_step(known["index"], known["done"], known["total"])
                else:
                    outcome = Outcome(known["index"], known["settings"], arrays, known["failure"])
                    crew.go_on(worker)
                    yield outcome
        finally:
            for worker in crew.workers.values():
                worker.process.kill()
            for worker in crew.workers.values():
                worker.end()


def start_process(threads: int, gpu: str | None, noise: IO[str]) -> "subprocess.Popen[str]":
    """A process that waits for its work.

    Args:
        threads: with how many threads it computes.
        gpu: the only one that it sees, None for all there are.
        noise: the file that its stderr goes to.
    """
    environment = {"OMP_NUM_THREADS": str(threads)} | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
    return waiting_process("gptfl.executors.worker", environment, noise)


def waiting_process(module: str, environment: Mapping[str, str], noise: IO[str]) -> "subprocess.Popen[str]":
    """A process that runs ``work`` of a module and is spoken to through pipes.

    Args:
        module: its name.
        environment: variables beside, and before, those of this process.
        noise: the file that its stderr goes to.
    """
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import work; work()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
        encoding="utf-8",
        env={**os.environ, **path, **environment},
        start_new_session=True,  # Ctrl-C is for the process that started them
    )
