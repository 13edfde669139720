"""Holds an executor against its interface, with trainers that train nothing and take no time."""

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import Curriculum, Run
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Executor, Plan
from gptfl.plugins.optional import PerformsUnits
from gptfl.plugins.work import Outcome, Unit, Work
from gptfl.testing import promises
from gptfl.testing.promises import require

INDICES = (4, 0, 9, 2, 7)
"""Of the runs: neither in order nor without gaps, as those are that a recording lacks."""
STEPS = 3
SPOILED = "what the check spoils"


def check_executor(factory: Callable[..., Executor], **settings: Any) -> None:
    """Check that ``factory(**settings)`` makes an executor that keeps every promise of its interface.

    The runs are made up, and those of one process are known beforehand. Where runs are carried out in other processes of
    this machine, one of these is killed within a run. Where the executor carries out any units (``perform``), it is
    given some of arrays.

    Args:
        factory: makes the executor.
        settings: those of the factory.

    Raises ``AssertionError`` that names the broken promise.
    """
    made = factory(**settings)
    promises.require_members(made, Executor, ("name", "execute"))
    name = f"executor {promises.require_name(made)!r}"
    with tempfile.TemporaryDirectory() as folder:
        maker = PretendedTrainers(folder)
        plans = [_plan(index) for index in INDICES]
        expected = {plan.index: maker().run(plan, lambda done, total: None) for plan in plans}
        _check_runs(made, maker, plans, expected, name)
        _check_runs(made, maker, plans[::-1], expected, f"{name}, given plans in another order,")
        require(list(made.execute(maker, [], _no_step)) == [], f"{name} yields a run where no plan is given")
        killing = replace(maker, killed=INDICES[1])
        _check_runs(made, killing, plans, expected, f"{name}, one of whose processes was killed,")
        _check_failure(made, replace(maker, spoiled=INDICES[2]), plans, name)
        if isinstance(made, PerformsUnits):
            _check_units(made, maker, name)


def _check_runs(
    made: Executor, maker: "PretendedTrainers", plans: Sequence[Plan], expected: dict[int, Run], who: str
) -> None:
    """Every plan's run comes once and is what it is in one process, and steps are reported of these plans alone."""
    said: list[tuple[int, int, int]] = []
    runs = list(made.execute(maker, plans, lambda *given: said.append(given)))
    found = sorted(run.index for run in runs)
    require(found == sorted(expected), f"{who} yields the runs {found}, asked for {sorted(expected)}, each once")
    for run in runs:
        one = expected[run.index]
        here = f"{who} changes {run.name}:"
        require((run.seed, run.role) == (one.seed, one.role), f"{here} its seed or role")
        promises.require_equal(run.curriculum.batches, one.curriculum.batches, f"{here} its batches")
        promises.require_equal(run.curriculum.learning_rates, one.curriculum.learning_rates, f"{here} its step sizes")
        promises.require_equal(run.steps, one.steps, f"{here} its steps")
        require(run.metrics.keys() == one.metrics.keys(), f"{here} which metrics it has")
        for metric, values in one.metrics.items():
            require(run.metrics[metric].dtype == values.dtype, f"{here} the type of {metric}")
            promises.require_equal(run.metrics[metric], values, f"{here} its {metric}")
    for index, done, total in said:
        fits = index in expected and total == STEPS and 0 <= done <= total
        require(fits, f"{who} reports step {done} of {total} of run {index}, of which there are {STEPS}")


def _check_failure(made: Executor, maker: "PretendedTrainers", plans: Sequence[Plan], who: str) -> None:
    """What a run raises that the user can mend is raised, and no other run is made up in its place."""
    try:
        runs = list(made.execute(maker, plans, _no_step))
    except DataError as error:
        require(error.problem == SPOILED, f"{who} raises {error.problem!r} where a run raised {SPOILED!r}")
        return
    except Exception as error:
        raise AssertionError(f"{who} raises {type(error).__name__} where a run raised DataError: {error}") from error
    raise AssertionError(f"{who} raises nothing where a run raised DataError, and yields {len(runs)} runs")


def _check_units(made: PerformsUnits, maker: "PretendedTrainers", who: str) -> None:
    """Blocks of arrays come back, each once and to the bit."""
    arrays = {"sums": np.array([1.5, np.nan, -0.0]), "of/all": np.arange(6, dtype=np.int8).reshape(2, 3)}
    units = [Unit(index, {"echo": True, "text": "é\ud800"}, arrays) for index in (3, 1)]
    found = list(made.perform(maker.work(), iter(units), _no_step))
    require(sorted(one.index for one in found) == [1, 3], f"{who}: perform does not yield each unit's outcome once")
    for one in found:
        require(one.failure is None, f"{who}: a unit in perform failed: {one.failure}")
        require(dict(one.settings) == dict(units[0].settings), f"{who}: perform changes a unit's settings")
        require(one.arrays.keys() == arrays.keys(), f"{who}: perform changes the names of a unit's arrays")
        for name, array in arrays.items():
            require(one.arrays[name].dtype == array.dtype, f"{who}: perform changes the type of a unit's arrays")
            promises.require_equal(one.arrays[name], array, f"{who}: perform changes a unit's arrays")


def _no_step(index: int, done: int, total: int) -> None:
    pass


def _plan(index: int) -> Plan:
    return Plan(index, 2**40 + index, "fit", np.arange(2 * STEPS).reshape(STEPS, 2) + index)


class _PretendedTrainer:
    """Makes runs up from their plans."""

    def __init__(self, maker: "PretendedTrainers") -> None:
        self.maker = maker

    def run(self, plan: Plan, on_step: Callable[[int, int], None]) -> Run:
        """The run of a plan: numbers drawn by its seed."""
        if plan.index == self.maker.spoiled:
            raise DataError(SPOILED, "spoil nothing")
        random = np.random.default_rng(plan.seed)
        for step in range(1, STEPS + 1):
            on_step(step, STEPS)
            if plan.index == self.maker.killed and step == 1:
                self.maker.kill_once()
        values = random.normal(size=(STEPS + 1, 2)).astype(np.float32)
        rates = random.uniform(size=STEPS)
        return Run(
            plan.index, plan.seed, plan.role, Curriculum(plan.batches, rates), np.arange(STEPS + 1), {"loss": values}
        )


@dataclass(frozen=True)
class PretendedTrainers:
    """Makes trainers that make runs up; it can be pickled, and be described by plain values.

    ``folder`` is one that all processes see. In the run ``killed`` the process is killed once, unless it is the one that
    made this; the run ``spoiled`` raises ``DataError``.
    """

    folder: str
    killed: int | None = None
    spoiled: int | None = None
    process: str = f"{socket.gethostname()} {os.getpid()}"

    def __call__(self) -> _PretendedTrainer:
        """A trainer."""
        return _PretendedTrainer(self)

    def kill_once(self) -> None:
        """Kill this process, the first time and unless it is the one that asks for the runs."""
        if self.process != f"{socket.gethostname()} {os.getpid()}":
            try:
                (Path(self.folder) / "killed").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def work(self) -> Work:
        """What its runs share."""
        return Work(kind="check", settings=dict(vars(self)))

    def unit(self, plan: Plan) -> Unit:
        """The unit that a plan is."""
        return Unit(plan.index, {"seed": plan.seed, "role": plan.role}, {"batches": plan.batches})

    def run(self, outcome: Outcome) -> Run:
        """The run that a unit came to."""
        outcome.check()
        known, arrays = outcome.settings, outcome.arrays
        curriculum = Curriculum(arrays["batches"], arrays["rates"])
        return Run(outcome.index, known["seed"], known["role"], curriculum, arrays["steps"], {"loss": arrays["loss"]})


def open_work(work: Work) -> Callable[[Unit, Callable[[int, int], None]], Outcome]:
    """What carries out the units of these checks in this process."""
    trainer = PretendedTrainers(**work.settings)()

    def carry_out(unit: Unit, on_step: Callable[[int, int], None]) -> Outcome:
        if "echo" in unit.settings:
            return Outcome(unit.index, unit.settings, unit.arrays)
        run = trainer.run(
            Plan(unit.index, unit.settings["seed"], unit.settings["role"], unit.arrays["batches"]), on_step
        )
        arrays: dict[str, np.ndarray] = {"batches": run.curriculum.batches, "rates": run.curriculum.learning_rates}
        return Outcome(unit.index, unit.settings, {**arrays, "steps": run.steps, "loss": run.metrics["loss"]})

    return carry_out
