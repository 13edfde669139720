"""The check passes a sound executor and names the promise that a broken one breaks."""

import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import Run
from gptfl.errors import DataError, UsageError
from gptfl.executors import Local
from gptfl.plugins.interfaces import Plan, Trainer
from tests.testing.parts import changed


class Elsewhere:
    """Makes a trainer for each run, by pickling what makes it, and yields the last run first."""

    name = "elsewhere"

    def execute(
        self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: Callable[[int, int, int], None]
    ) -> Iterator[Run]:
        def carry_out(plan: Plan) -> Run:
            made = pickle.loads(pickle.dumps(make_trainer))()
            return made.run(plan, lambda done, total: on_step(plan.index, done, total))  # type: ignore[no-any-return]

        with ThreadPoolExecutor(2) as pool:
            yield from [*pool.map(carry_out, plans)][::-1]


def broken(change: Callable[[list[Run]], list[Run]]) -> type:
    def execute(self: Any, *given: Any) -> Iterator[Run]:
        yield from change([*Elsewhere().execute(*given)])

    return changed(Elsewhere, execute=execute)


def twice(self: Any, make_trainer: Any, plans: Any, on_step: Any) -> Iterator[Run]:
    made = make_trainer()
    for plan in plans:
        yield made.run(replace(plan, seed=plan.seed + 1), lambda done, total: None)


def ordered(self: Any, make_trainer: Any, plans: Any, on_step: Any) -> Iterator[Run]:
    made, seed = make_trainer(), itertools.count(2**40)
    for plan in sorted(plans, key=lambda plan: plan.index):
        yield replace(made.run(replace(plan, seed=next(seed)), lambda done, total: None), seed=plan.seed)


def reporting(self: Any, make_trainer: Any, plans: Any, on_step: Any) -> Iterator[Run]:
    for place, run in enumerate(Local().execute(make_trainer, plans, lambda *given: None)):
        on_step(place, 1, 3)
        yield run


def failing(self: Any, make_trainer: Any, plans: Any, on_step: Any) -> Iterator[Run]:
    try:
        yield from Local().execute(make_trainer, plans, on_step)
    except DataError as error:
        raise UsageError("no run", "") from error


def forgetting(self: Any, make_trainer: Any, plans: Any, on_step: Any) -> Iterator[Run]:
    made = make_trainer()
    for plan in plans:
        try:
            yield made.run(plan, lambda done, total: None)
        except DataError:
            continue


def spoiling(kept: bool) -> Callable[..., Iterator[Any]]:
    def perform(self: Any, work: Any, units: Any, on_step: Any) -> Iterator[Any]:
        for done in Local().perform(work, units, on_step):
            yield replace(done, arrays={k: v.astype(v.dtype if kept else "f8") for k, v in done.arrays.items()})

    return perform


BROKEN = {
    "lost": (
        broken(lambda runs: runs[1:]),
        r"yields the runs \[2, 4, 7, 9\]|yields the runs \[0, 2, 4, 9\], asked for",
    ),
    "twice": (broken(lambda runs: runs[:1] + runs), "each once"),
    "seed": (changed(Elsewhere, execute=twice), "changes run-0004: its seed or role"),
    "order": (changed(Elsewhere, execute=ordered), "changes run-00.*: its"),
    "type": (
        broken(lambda runs: [replace(run, metrics={"loss": run.metrics["loss"].astype("f8")}) for run in runs]),
        "the type of loss",
    ),
    "digits": (
        broken(lambda runs: [replace(run, metrics={"loss": np.float32(1) + run.metrics["loss"]}) for run in runs]),
        "its loss",
    ),
    "metrics": (broken(lambda runs: [replace(run, metrics={}) for run in runs]), "which metrics it has"),
    "steps": (changed(Elsewhere, execute=reporting), "reports step 1 of 3 of run 1, of which"),
    "other error": (changed(Elsewhere, execute=failing), "raises UsageError where a run raised DataError"),
    "no error": (changed(Elsewhere, execute=forgetting), "raises nothing where a run raised DataError, and yields 4"),
    "arrays": (changed(Local, perform=spoiling(False)), "perform changes the type of a unit's arrays"),
}


def test_a_sound_executor_passes() -> None:
    testing.check_executor(Elsewhere)
    testing.check_executor(changed(Local, perform=spoiling(True)))


@pytest.mark.parametrize(("factory", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_executor_is_reported_what_it_breaks(factory: type, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        testing.check_executor(factory)
