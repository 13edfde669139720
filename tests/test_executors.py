"""Runs one after another in this process."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gptfl.executors import Local
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import build

PLANS = [Plan(index, 10 + index, "fit", np.zeros((2, 1), int)) for index in (7, 3, 5)]


class Trainer:
    """Says which plans it was given, and reports two steps of each."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def run(self, plan: Plan, on_step: Any) -> Any:
        self.given.append(plan.index)
        for done in (1, 2):
            on_step(done, 2)
        return SimpleNamespace(index=plan.index)


def test_runs_come_in_the_order_of_the_plans_each_as_soon_as_it_is_done() -> None:
    trainer, made, steps = Trainer(), [], []

    def make() -> Any:
        made.append(trainer)
        return trainer

    runs = Local().execute(make, iter(PLANS), lambda *one: steps.append(one))
    assert made == [], "nothing is loaded before the first run is asked for"
    assert next(runs).index == 7
    assert trainer.given == [7]
    assert steps == [(7, 1, 2), (7, 2, 2)]
    assert [run.index for run in runs] == [3, 5]
    assert steps[2:] == [(3, 1, 2), (3, 2, 2), (5, 1, 2), (5, 2, 2)]
    assert made == [trainer], "one model serves all runs"


def test_a_run_that_fails_leaves_those_before_it() -> None:
    trainer = Trainer()
    done = []
    plain = trainer.run

    def run(plan: Plan, on_step: Any) -> Any:
        if plan.index == 5:
            raise KeyboardInterrupt
        return plain(plan, on_step)

    trainer.run = run  # type: ignore[method-assign]
    try:
        for one in Local().execute(lambda: trainer, PLANS, lambda *_: None):
            done.append(one.index)
    except KeyboardInterrupt:
        done.append(-1)
    assert done == [7, 3, -1]


def test_no_plan_is_no_run() -> None:
    assert list(Local().execute(Trainer, [], lambda *_: None)) == []
    assert isinstance(build([]).make("executor", Local.name), Local)
