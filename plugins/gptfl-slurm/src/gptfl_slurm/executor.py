"""The executor: each run, or a few of them, is a job."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.plugins import (
    Outcome,
    Plan,
    ResourceError,
    Run,
    Trainer,
    Unit,
    UsageError,
    Work,
    number,
    one_of,
    runs_by_units,
    text,
    whole,
)
from gptfl_slurm.files import Folder
from gptfl_slurm.queue import Queue

WHO = "executor slurm"
FOLDER = "gptfl-slurm"
LOSSES = 3
"""How often a job may end without what it was asked for; then it isn't submitted again."""
OnStep = Callable[[int, int, int], None]


class Slurm:
    """Carries out runs as jobs of a Slurm cluster, of which an array is submitted at once.

    A job that is cancelled, or whose machine fails, is submitted again; one that is preempted or whose time is over is
    queued again by submitit. It then goes on with the runs that lack.
    """

    name = "slurm"

    def __init__(
        self,
        workers: int | None = None,
        folder: str = FOLDER,
        timeout_min: int = 60,
        runs_per_job: int = 1,
        cpus_per_task: int = 1,
        threads: int | None = None,
        poll_seconds: float = 5,
        cluster: str = "slurm",
        mem_gb: float | None = None,
        gpus_per_node: int | None = None,
        partition: str | None = None,
        gres: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        setup: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings; nothing is submitted.

        Args:
            workers: how many jobs at once at most; None for as many as Slurm starts, 2 of ``cluster=local``.
            folder: where jobs and this process leave files for each other; both must see it.
            timeout_min: minutes that a job has.
            runs_per_job: how many runs a job carries out, one after another with one model.
            cpus_per_task: processors of a job.
            threads: with how many threads it computes; None for one a processor.
            poll_seconds: seconds between two looks at what is done.
            cluster: ``slurm``, or ``local`` for processes of this machine.
            mem_gb: memory of a job.
            gpus_per_node: GPUs of a job; or ask for them with ``gres``.
            partition: of the cluster.
            gres: what else a job needs, such as ``gpu:1``.
            account: that jobs are charged to.
            qos: quality of service.
            constraint: features that a machine must have.
            setup: a command of the shell that a job begins with.
            more: other options of sbatch by their long names.
        """
        self.cluster = one_of(WHO, "cluster", cluster, ("slurm", "local"))
        at_once = 2 if cluster == "local" and workers is None else workers
        self.workers = None if at_once is None else whole(WHO, "workers", at_once, low=1)
        self.folder = Path(text(WHO, "folder", folder)).expanduser().absolute()
        self.runs_per_job = whole(WHO, "runs_per_job", runs_per_job, low=1)
        processors = whole(WHO, "cpus_per_task", cpus_per_task, low=1)
        self.threads = processors if threads is None else whole(WHO, "threads", threads, low=1)
        self.poll_seconds = number(WHO, "poll_seconds", poll_seconds, positive=True)
        if more is not None and not isinstance(more, Mapping):
            raise UsageError(f"{WHO}: more is {more!r}", 'give options of sbatch, as in more={"nice": 100}')
        named = {"partition": partition, "gres": gres, "account": account, "qos": qos, "constraint": constraint}
        chosen = {
            "name": "gptfl",
            "timeout_min": whole(WHO, "timeout_min", timeout_min, low=1),
            "cpus_per_task": processors,
            "mem_gb": None if mem_gb is None else number(WHO, "mem_gb", mem_gb, positive=True),
            "gpus_per_node": None if gpus_per_node is None else whole(WHO, "gpus_per_node", gpus_per_node, low=0),
            "slurm_array_parallelism": self.workers or 10**6,
            "slurm_setup": None if setup is None else [text(WHO, "setup", setup)],
            "slurm_additional_parameters": None if more is None else dict(more),
            **{f"slurm_{key}": None if one is None else text(WHO, key, one) for key, one in named.items()},
        }
        self.limits = {key: one for key, one in chosen.items() if one is not None}

    def execute(self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: OnStep) -> Iterator[Run]:
        """Yield each run as soon as its job has left it."""
        yield from runs_by_units(self.perform, make_trainer, plans, on_step)

    def perform(self, work: Work, units: Iterable[Unit], on_step: OnStep) -> Iterator[Outcome]:
        """Yield what each unit came to as soon as its job has left it.

        What jobs of an earlier call left, which ended before it took that, is taken first. Raises ``ResourceError``
        where jobs end again and again without it. All jobs are cancelled when this ends, however it ends.
        """
        files = Folder.of(self.folder, replace(work, threads=self.threads))
        names = files.add(units)
        found = {name: files.outcome(name) for name in names}
        for name, outcome in found.items():
            if outcome is not None and outcome.failure is None:
                yield outcome
                files.forget(name)
            elif outcome is not None:
                (files.path / f"{name}.outcome").unlink(missing_ok=True)
        left = [name for name, outcome in found.items() if outcome is None or outcome.failure is not None]
        if left:
            queue = Queue(self.cluster, files.path / "jobs", self.limits, WHO)
            yield from _Submitted(self, queue, files, {name: names[name] for name in left}, on_step).outcomes()
        shutil.rmtree(files.path, ignore_errors=True)


class _Submitted:
    """Jobs that are under way, the units of each, and those that wait until there is room for another."""

    def __init__(self, executor: Slurm, queue: Queue, files: Folder, names: Mapping[str, int], on_step: OnStep) -> None:
        self.queue, self.files, self.names, self.on_step = queue, files, dict(names), on_step
        self.pause = executor.poll_seconds
        # Slurm holds back what is more than allowed of an array; submitit's own cluster doesn't.
        self.most = executor.workers if executor.cluster == "local" else None
        each, every = executor.runs_per_job, list(names)
        self.waiting = [every[start : start + each] for start in range(0, len(every), each)]
        self.jobs: dict[Any, list[str]] = {}
        self.losses: dict[str, int] = {}
        self.said: dict[str, tuple[int, int]] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what the units came to, until there is nothing left."""
        try:
            while self.names:
                self._submit()
                ended = self.queue.ended(self.jobs)
                # A job is looked after only once it is known to have ended: its last files are there by then.
                for name in list(self.names):
                    outcome = self.files.outcome(name)
                    if outcome is None:
                        self._report(name)
                        continue
                    del self.names[name]
                    yield outcome
                    self.files.forget(name)
                for job in ended:
                    self._look_after(job)
                if self.names and not (self.waiting and self._room()):
                    time.sleep(self.pause)
        finally:
            self.queue.cancel(job for job, group in self.jobs.items() if any(name in self.names for name in group))
            self.queue.see_off(self.jobs)

    def _room(self) -> int:
        return len(self.waiting) if self.most is None else max(0, self.most - len(self.jobs))

    def _submit(self) -> None:
        groups = [self.waiting.pop(0) for _ in range(min(self._room(), len(self.waiting)))]
        if groups:
            self.jobs |= dict(zip(self.queue.submit(self.files.path, groups), groups, strict=True))

    def _report(self, name: str) -> None:
        said = self.files.steps(name)
        if said is not None and said != self.said.get(name):
            self.said[name] = said
            self.on_step(self.names[name], *said)

    def _look_after(self, job: Any) -> None:
        """Have what a job that ended has left undone submitted again."""
        lacking = [name for name in self.jobs.pop(job) if name in self.names]
        if not lacking:
            return
        first = lacking[0]
        self.losses[first] = self.losses.get(first, 0) + 1
        if self.losses[first] > LOSSES:
            raise ResourceError(
                f"{WHO}: job {job.job_id} ended without unit {self.names[first]}, the {LOSSES + 1}th so: "
                f"{self.queue.last_word(job)}",
                f"see {self.queue.logs}; a run that takes longer needs more timeout_min, and memory mem_gb",
            )
        self.waiting.append(lacking)
