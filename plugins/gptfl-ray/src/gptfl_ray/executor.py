"""The executor: each run, or a few of them, is a task."""

import contextlib
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.plugins import (
    Outcome,
    Plan,
    ResourceError,
    Run,
    Trainer,
    Unit,
    UsageError,
    Work,
    flag,
    number,
    runs_by_units,
    text,
    whole,
)
from gptfl_ray.task import Board, carry_out_units, files_of

WHO = "executor ray"
LOSSES = 3
"""How often a task may be lost; then it isn't begun again."""
AHEAD = 256
"""So many tasks are given to Ray at once, unless ``workers`` says fewer."""
WAIT = 0.5
"""Seconds between two looks at how far tasks are."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
OnStep = Callable[[int, int, int], None]


class Ray:
    """Carries out runs as tasks of a Ray cluster: the one of ``address``, or one of this machine alone.

    Examples and weights are put into the cluster's object store once. A task that is lost with its worker or its node is
    begun again elsewhere.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        workers: int | None = None,
        runs_per_task: int = 1,
        threads: int | None = None,
        ship: bool = True,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings; no cluster is joined.

        Args:
            address: of the cluster, as ``ray.init`` has it; None for RAY_ADDRESS, or else for one of this machine.
            num_cpus: processors of a task.
            num_gpus: GPUs of a task; a share where several tasks fit on one.
            resources: what else a task needs, by the names that the cluster has for it.
            workers: how many tasks at once at most; None for as many as there is room for.
            runs_per_task: how many runs a task carries out, one after another with one model.
            threads: with how many threads a task computes; None for ``num_cpus``.
            ship: whether nodes that lack the model's folder are sent it.
            runtime_env: what Ray prepares on the nodes, such as ``{"pip": [...]}``.
        """
        self.address = None if address is None else text(WHO, "address", address)
        self.num_cpus = number(WHO, "num_cpus", num_cpus, low=0)
        self.num_gpus = number(WHO, "num_gpus", num_gpus, low=0)
        for setting, given in (("resources", resources), ("runtime_env", runtime_env)):
            if given is not None and not isinstance(given, Mapping):
                raise UsageError(f"{WHO}: {setting} is {given!r}", f"give a mapping, as in '{setting}={{\"a\": 1}}'")
        self.resources, self.runtime_env = dict(resources or {}), dict(runtime_env or {})
        self.workers = None if workers is None else whole(WHO, "workers", workers, low=1)
        self.runs_per_task = whole(WHO, "runs_per_task", runs_per_task, low=1)
        self.threads = max(1, int(self.num_cpus)) if threads is None else whole(WHO, "threads", threads, low=1)
        self.ship = flag(WHO, "ship", ship)

    def execute(self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: OnStep) -> Iterator[Run]:
        """Yield each run as soon as its task has ended."""
        yield from runs_by_units(self.perform, make_trainer, plans, on_step)

    def perform(self, work: Work, units: Iterable[Unit], on_step: OnStep) -> Iterator[Outcome]:
        """Yield what each unit came to as soon as its task has ended; all tasks are cancelled when this ends early.

        Raises ``UsageError`` where the runs need a GPU and tasks have none, and ``ResourceError`` where the cluster
        can't be joined, or tasks are lost again and again.
        """
        if work.device.startswith("cuda") and not self.num_gpus:
            raise UsageError(f"{WHO}: --device {work.device}, and num_gpus is 0", "give --executor-set num_gpus=1")
        rest = iter(units)
        first = list(islice(rest, 1))
        if not first:
            return
        with self._joined():
            tasks = _Tasks(self, replace(work, threads=self.threads))
            try:
                yield from tasks.outcomes(_chain(first, rest), on_step)
            finally:
                tasks.cancel()

    @contextlib.contextmanager
    def _joined(self) -> Iterator[None]:
        """In the cluster: that of the caller, if it has joined one."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if ray.is_initialized():
            yield
            return
        handlers = {one: signal.getsignal(one) for one in SIGNALS}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise ResourceError(
                f"{WHO}: no cluster at {self.address or 'RAY_ADDRESS'}: {said[0]}", "see ray status there"
            ) from error
        finally:
            with contextlib.suppress(ValueError):  # no signals in another thread
                for one, handler in handlers.items():
                    signal.signal(one, handler)
        try:
            yield
        finally:
            ray.shutdown()


def _chain(first: list[Unit], rest: Iterator[Unit]) -> Iterator[Unit]:
    yield from first
    yield from rest


class _Tasks:
    """Tasks that are under way."""

    def __init__(self, executor: Ray, work: Work) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray, self.name, self.most = ray, uuid.uuid4().hex, executor.workers or AHEAD
        self.each = executor.runs_per_task
        folder = work.folder if executor.ship else None
        # Each is one object, whoever asks for it, and however often.
        self.described = ray.put(json.dumps(work.to_json()).encode())
        self.sizes = files_of(folder)
        self.files = {one: ray.put(np.fromfile(Path(str(folder)) / one, dtype=np.uint8)) for one in self.sizes}
        # Beside this process, so that it is not lost with a node that is.
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=beside).remote()
        needs = {"num_cpus": executor.num_cpus, "num_gpus": executor.num_gpus, "resources": executor.resources}
        more = {"runtime_env": executor.runtime_env} if executor.runtime_env else {}
        # Lost tasks are begun again here, where it is counted which units they held.
        self.remote = ray.remote(carry_out_units).options(max_retries=0, **needs, **more)
        self.pending: dict[Any, list[bytes]] = {}
        self.losses: dict[bytes, int] = {}

    def outcomes(self, units: Iterator[Unit], on_step: OnStep) -> Iterator[Outcome]:
        """Yield what the units came to."""
        packed = (unit.to_bytes() for unit in units)
        while True:
            while len(self.pending) < self.most:
                group = list(islice(packed, self.each))
                if not group:
                    break
                self._begin(group)
            if not self.pending:
                return
            ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=WAIT)
            for index, (done, total) in self._steps().items():
                on_step(index, done, total)
            for ref in ready:
                yield from self._take(ref)

    def _begin(self, group: list[bytes]) -> None:
        ref = self.remote.remote(self.name, self.described, self.sizes, self.files, group, self.board)
        self.pending[ref] = group

    def _steps(self) -> dict[int, tuple[int, int]]:
        try:
            said: dict[int, tuple[int, int]] = self.ray.get(self.board.read.remote(), timeout=WAIT)
        except self.ray.exceptions.RayError:  # lost, or busy: only how far tasks are isn't told
            return {}
        return said

    def _take(self, ref: Any) -> list[Outcome]:
        """What the units of a task came to that ended; none where it was lost, and is begun again."""
        group = self.pending.pop(ref)
        try:
            return [Outcome.of_bytes(one) for one in self.ray.get(ref)]
        except self.ray.exceptions.RayTaskError as error:
            last = str(error).strip().splitlines()[-1]
            raise ResourceError(
                f"{WHO}: a task can't be carried out: {last}", "install gptfl and the same plugins on every node"
            ) from error
        except self.ray.exceptions.RayError as error:
            self.losses[group[0]] = self.losses.get(group[0], 0) + 1
            if self.losses[group[0]] > LOSSES:
                said = " ".join(str(error).split())[:300]
                raise ResourceError(
                    f"{WHO}: the task of unit {Unit.of_bytes(group[0]).index} was lost {LOSSES + 1} times: {said}",
                    "if memory ran out, give tasks more num_cpus or num_gpus, so that fewer share a node",
                ) from error
        self._begin(group)
        return []

    def cancel(self) -> None:
        """End the tasks that are still there."""
        for ref in self.pending:
            with contextlib.suppress(self.ray.exceptions.RayError, ValueError, TypeError):
                self.ray.cancel(ref, force=True)
        self.ray.kill(self.board)
