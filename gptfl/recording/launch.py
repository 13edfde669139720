"""Several processes that record one run together: started, listened to, and ended when one of them ends.

The process that asks for them computes nothing: it starts the others (``work``), which carry out the same
``collect`` as members of one group, and hears from them by lines of JSON. The first of them writes the files.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gptfl import errors
from gptfl.core import Progress
from gptfl.errors import ResourceError
from gptfl.executors.crew import waiting_process
from gptfl.interruption import NOTHING_LEFT, leaving
from gptfl.options.files import to_json
from gptfl.options.recording import CollectOptions

if TYPE_CHECKING:
    from gptfl.recording.cost import Announce
    from gptfl.recording.result import CollectResult
    from gptfl.training.distributed import ProcessGroup


SETTLING = 3.0
"""Seconds to wait, when something fails, for what the other processes have to say of it."""


@dataclass
class _Failure:
    """Why a process stopped; the one of the lowest ``rank`` (a number, not a process) is told."""

    rank: int
    error: Exception


@dataclass
class _WorkerPool:
    """The processes, and what they say."""

    processes: list[subprocess.Popen[str]]
    noise: IO[str]
    """What they print beside their words."""
    left: Callable[[], str]
    """Says what is left of the recording where it ends early."""
    words: "queue.Queue[tuple[int, dict[str, Any]]]" = field(default_factory=queue.Queue)
    ears: list[threading.Thread] = field(default_factory=list)

    def listen(self) -> None:
        """Pass on every line that a process says, and that it has ended."""
        for number, process in enumerate(self.processes):
            self.ears.append(threading.Thread(target=self._hear, args=(number, process), daemon=True))
            self.ears[-1].start()

    def _hear(self, number: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None  # opened as a pipe
        with process.stdout:
            for line in process.stdout:
                self.words.put((number, json.loads(line)))
        self.words.put((number, {"kind": "ended", "code": process.wait()}))

    def failure(self, number: int, word: Mapping[str, Any]) -> _Failure | None:
        """What a word says of a failure, if it does."""
        who = f"process {number + 1} of {len(self.processes)}"
        if word["kind"] == "refused":
            error: Exception = getattr(errors, word["error"])(word["problem"], word["remedy"])
            return _Failure(0 if number == 0 else 1, error)
        if word["kind"] == "crashed":
            # A group that one leaves breaks in all the others, who tell of that alone.
            return _Failure(3, RuntimeError(f"{who}: {word['trace']}"))
        if word["kind"] == "ended" and word["code"] < 0:
            name = signal.Signals(-word["code"]).name
            hint = "; if memory ran out, ask for fewer --processes or --shard" if name == "SIGKILL" else ""
            return _Failure(2, ResourceError(f"{who} was ended by {name}", f"{self.left()}{hint}"))
        if word["kind"] == "ended" and word["code"] > 0:
            self.noise.seek(0)
            said = self.noise.read().strip().splitlines()[-1:]
            return _Failure(
                4, ResourceError(f"{who} ended with exit code {word['code']}: {''.join(said)}", self.left())
            )
        return None

    def reason(self, first: _Failure) -> Exception:
        """Of all that fails within a moment of the first failure, what explains the others."""
        failures = [first]
        until = time.monotonic() + SETTLING
        ended = 0
        while failures[0].rank > 0 and ended < len(self.processes) and time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                number, word = self.words.get(timeout=0.1)
                ended += word["kind"] == "ended"
                another = self.failure(number, word)
                failures = sorted([*failures, *filter(None, [another])], key=lambda failure: failure.rank)
        return failures[0].error


def starts_others(processes: int) -> bool:
    """Whether this process has to start the others, of which there are to be so many."""
    from gptfl.training.distributed import started_size

    return processes > started_size()


def is_first_process() -> bool:
    """Whether this process speaks for those that record together: alone, or the first of them."""
    return os.environ.get("RANK", "0") == "0"


def join_others(device: str, shard: bool) -> "ProcessGroup":
    """The group that this process belongs to, itself alone for one."""
    from gptfl.training.distributed import join

    return join(device, shard)


def launch(
    options: CollectOptions,
    progress: Progress,
    announce: "Announce | None",
    left: Callable[[], str] = lambda: NOTHING_LEFT,
) -> "CollectResult":
    """Record by as many processes of this machine as the options say, which get the options as JSON.

    Args:
        options: of the recording; ``execution.processes`` is how many are started.
        progress: called along the way with what the first process reports.
        announce: called with the estimate of the cost before the first run, where there is one.
        left: says what was kept so far, for whoever interrupts.

    Raises what the first of them raises, and ``ResourceError`` where one is killed. However this process ends,
    the others end with it.
    """
    from gptfl.designs.identification import Identification
    from gptfl.recording.cost import CostEstimate
    from gptfl.recording.result import CollectResult

    result: CollectResult | None = None
    estimate: CostEstimate | None = None
    processes = options.execution.processes
    line = json.dumps(to_json(options))
    with leaving(left), _started(processes, line, left) as crew:
        working = processes
        while working:
            number, word = crew.words.get()
            failure = crew.failure(number, word)
            if failure is not None:
                raise crew.reason(failure)
            if word["kind"] == "progress":
                progress(*word["given"])
            elif word["kind"] == "estimate":
                given = word["given"]
                identification = given["identifies"] and Identification(**given["identifies"])
                estimate = CostEstimate(**{**given, "notes": tuple(given["notes"]), "identifies": identification})
                if announce is not None:
                    announce(estimate)
            elif word["kind"] == "result":
                given = word["given"]
                given["moved"] = {name: tuple(ends) for name, ends in given["moved"].items()}
                result = CollectResult(
                    **{**given, "path": Path(given["path"]), "notes": tuple(given["notes"]), "estimate": estimate}
                )
            working -= word["kind"] == "ended"
    assert result is not None  # a first process that says no result has failed above
    return result


@contextlib.contextmanager
def _started(processes: int, line: str, left: Callable[[], str]) -> Iterator[_WorkerPool]:
    """Processes at work; they are gone when the block ends, however it ends."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as noise:
        crew = _WorkerPool([], noise, left)
        try:
            port = free_port()
            for number in range(processes):
                crew.processes.append(start_process(number, processes, port, noise))
            crew.listen()
            for process in crew.processes:
                assert process.stdin is not None  # opened as a pipe, and kept open: it closes when this process ends
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(line + "\n")
                    process.stdin.flush()
            yield crew
        finally:
            for process in crew.processes:
                process.kill()
            for process in crew.processes:
                process.wait()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()  # type: ignore[union-attr]
            for ear in crew.ears:
                ear.join()


def start_process(number: int, processes: int, port: int, noise: IO[str]) -> "subprocess.Popen[str]":
    """One of the processes of a recording, which waits for its options.

    Args:
        number: its rank.
        processes: how many there are.
        port: where they meet.
        noise: the file that its stderr goes to.
    """
    cores = max(1, (os.cpu_count() or 1) // processes)
    # What the user says of threads goes before.
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(cores))}
    environment |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes)}
    environment |= {"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return waiting_process("gptfl.recording.worker", environment, noise)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
