"""Runs in this process, or shared out among several of this machine."""

import os
from collections.abc import Callable, Iterable, Iterator

from gptfl.core import Run
from gptfl.errors import UsageError
from gptfl.plugins.interfaces import Plan, Trainer
from gptfl.plugins.settings import whole
from gptfl.plugins.work import OnStep, Outcome, Unit, Work, carry_out, runs_by_units

WHO = "executor local"


class Local:
    """Carries out the runs on this machine: one after another in this process, or by several processes at once.

    Of several processes each loads the model, and computes with ``threads`` threads: where they aren't given with
    OMP_NUM_THREADS or its share of the processors. Where there are GPUs, each process has one. The same number of
    threads gives the same bits, whatever the number of processes.
    """

    name = "local"

    def __init__(self, workers: int = 1, threads: int | None = None) -> None:
        self.workers = whole(WHO, "workers", workers, low=1)
        given = os.environ.get("OMP_NUM_THREADS", "")
        usual = int(given) if given.isdigit() and int(given) else max(1, (os.cpu_count() or 1) // self.workers)
        self.threads = usual if threads is None else whole(WHO, "threads", threads, low=1)
        self._alone = self.workers == 1 and threads is None

    def execute(self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: OnStep) -> Iterator[Run]:
        """Yield each run as soon as it is done, in the order of the plans where one process carries them out."""
        if not self._alone:
            yield from runs_by_units(self.perform, make_trainer, plans, on_step)
            return
        trainer = make_trainer()
        for plan in plans:
            yield trainer.run(plan, lambda done, total, index=plan.index: on_step(index, done, total))  # type: ignore[misc]

    def perform(self, work: Work, units: Iterable[Unit], on_step: OnStep) -> Iterator[Outcome]:
        """Yield what each unit came to as soon as it is done."""
        if self._alone:
            for unit in units:
                yield carry_out(work, unit, lambda done, total, index=unit.index: on_step(index, done, total))  # type: ignore[misc]
            return
        from gptfl.executors.crew import carry_out_by_processes

        if self.workers > 1 and ":" in work.device:
            raise UsageError(
                f"{WHO}: workers is {self.workers} with --device {work.device}, and each process takes a GPU of its own",
                "use --device cuda",
            )
        yield from carry_out_by_processes(work, units, on_step, workers=self.workers, threads=self.threads)
