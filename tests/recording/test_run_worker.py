"""What a worker makes of what it is told: the very trainer, or a refusal."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import TaskData
from gptfl.errors import DataError
from gptfl.metrics import Accuracy, Loss
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.work import Outcome, Unit, Work, carry_out
from gptfl.recording.run_worker import rebuilt
from gptfl.recording.trainers import TrainerMaker
from gptfl.tasks.errands import Errands
from gptfl.training.trainer import TrainerSettings

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


def test_a_copy_of_the_folder_does_as_well_and_other_weights_are_refused(maker: TrainerMaker, tmp_path: Path) -> None:
    from tests.models import save_small

    maker()
    other = save_small(tmp_path / "other", "gpt-neox", width=16)
    work = replace(maker.work(), folder=str(other))
    with pytest.raises(DataError, match=r"has other weights on a worker \(.*\) than here"):
        maker.run(elsewhere(work, maker.unit(PLAN)))


def test_another_gptfl_on_a_worker_is_told(maker: TrainerMaker) -> None:
    work = maker.work()
    changed: dict[str, Any] = {**work.settings, "recipe": {**work.settings["recipe"], "spin": 1}}
    with pytest.raises(
        DataError, match=r"the worker's gptfl knows other settings of a trainer: spin: install the same"
    ):
        maker.run(elsewhere(replace(work, settings=changed), maker.unit(PLAN)))


def test_turns_and_fields_travel(maker: TrainerMaker) -> None:
    from gptfl.core import Example
    from gptfl.core.turns import Turn

    talk = Example.of_turns(
        "c", (Turn("user", "hello"), Turn("assistant", "who sees", target=True)), {"n": [1.5, None]}
    )
    data = TaskData("talks", (talk,), maker.data.test)
    found = rebuilt(replace(maker, data=data).work())
    assert found.data == data
    assert found.recipe == maker.recipe
    assert [metric.info.name for metric in found.metrics] == ["loss", "accuracy"]
