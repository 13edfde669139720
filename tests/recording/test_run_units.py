"""Runs as units of work: a trainer is made again from plain values, and carries out the same runs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.metrics import Accuracy, Loss
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.work import Outcome, Unit, Work, carry_out
from gptfl.recording.run_units import outcome_of, plan_of, run_of, unit_of
from gptfl.recording.trainers import TrainerMaker
from gptfl.tasks.errands import Errands
from gptfl.training.trainer import DivergedError, TrainerSettings

PLAN = Plan(3, 2**40, "fit", np.array([[0, 1], [2, -1]]))


@pytest.fixture
def maker(neox: Path) -> TrainerMaker:
    data = Errands().load(6, 3, 0)
    recipe = TrainerSettings(1e-3, derivatives=True, seed=7)
    return TrainerMaker(str(neox), "cpu", data, (Loss(), Accuracy()), recipe)


def elsewhere(work: Work, unit: Unit) -> Outcome:
    """Carried out from what travels, in this process."""
    job = Work.of_json(json.loads(json.dumps(work.to_json())))
    outcome = carry_out(job, Unit.of_bytes(unit.to_bytes()), lambda done, total: None)
    return Outcome.of_bytes(outcome.to_bytes())


def test_a_run_is_the_same_from_plain_values(maker: TrainerMaker) -> None:
    here = maker().run(PLAN, lambda done, total: None)
    there = maker.run(elsewhere(maker.work(), maker.unit(PLAN)))
    assert (there.index, there.seed, there.role) == (3, 2**40, "fit")
    np.testing.assert_array_equal(there.curriculum.batches, PLAN.batches)
    np.testing.assert_array_equal(there.curriculum.learning_rates, here.curriculum.learning_rates)
    np.testing.assert_array_equal(there.steps, here.steps)
    for kind in ("metrics", "derivatives"):
        assert getattr(here, kind).keys() == getattr(there, kind).keys()
        for name, values in getattr(here, kind).items():
            assert getattr(there, kind)[name].dtype == values.dtype
            np.testing.assert_array_equal(getattr(there, kind)[name], values)
    assert there.seconds is not None


def test_a_run_that_diverges_brings_what_was_recorded(maker: TrainerMaker) -> None:
    wild = replace(maker, recipe=replace(maker.recipe, learning_rate=1e30))
    with pytest.raises(DivergedError, match="run-0003") as caught:
        wild.run(elsewhere(wild.work(), wild.unit(PLAN)))
    assert list(caught.value.run.steps) == [0]
    assert caught.value.remedy == "lower --lr, or look at these examples"


def test_plans_and_runs_come_back(maker: TrainerMaker) -> None:
    plan = plan_of(unit_of(PLAN))
    assert (plan.index, plan.seed, plan.role) == (PLAN.index, PLAN.seed, PLAN.role)
    np.testing.assert_array_equal(plan.batches, PLAN.batches)
    run = maker().run(PLAN, lambda done, total: None)
    assert run_of(outcome_of(run)).seconds == run.seconds
