"""Runs as units of work: what a trainer is made of, a plan and a run as plain settings and arrays."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from gptfl.core import Curriculum, Run, TaskData
from gptfl.plugins.interfaces import Metric, Plan
from gptfl.plugins.work import Outcome, Unit, Work
from gptfl.store.examples import example_to_json

if TYPE_CHECKING:
    from gptfl.training.checkpoints import CheckpointWriter
    from gptfl.training.trainer import TrainerSettings

KIND, SKETCHES = "runs", "sketches"
PARTIAL = "partial"
"""What the settings of a run that diverged are marked by; its arrays are what was recorded before."""


def describe(
    model: str,
    device: str,
    data: TaskData,
    metrics: Sequence[Metric],
    recipe: "TrainerSettings",
    writer: "CheckpointWriter | None",
    weights: str | None,
) -> Work:
    """All it takes to make a trainer in another process, which has no part in any group.

    Args:
        model: its name or folder.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU.
        data: the pool and the test examples.
        metrics: what is measured.
        recipe: how runs are trained.
        writer: saves weights along the runs, if any are.
        weights: the hash of the weights here, where they are loaded.
    """
    from gptfl.training.load import model_folder
    from gptfl.training.models import choose_device

    folder = model_folder(model)
    settings = {
        "model": model if folder is None else str(folder),
        "weights": weights,
        "task": data.task,
        "pool": [example_to_json(example) for example in data.pool],
        "test": [example_to_json(example) for example in data.test],
        "metrics": [metric.info.name for metric in metrics],
        "recipe": asdict(recipe),
        "checkpoints": None
        if writer is None
        else {"folder": str(writer.folder.absolute()), "steps": list(writer.steps), "recording": writer.recording},
    }
    device = device if device.startswith("cuda:") else choose_device(device).type
    return Work(kind=KIND, settings=settings, device=device, folder=None if folder is None else str(folder))


def unit_of(plan: Plan) -> Unit:
    """The unit that a plan is."""
    return Unit(plan.index, {"seed": int(plan.seed), "role": plan.role}, {"batches": plan.batches})


def plan_of(unit: Unit) -> Plan:
    """The plan that ``unit_of`` made a unit of."""
    return Plan(unit.index, unit.settings["seed"], unit.settings["role"], unit.arrays["batches"])


def outcome_of(run: Run) -> Outcome:
    """A run as plain settings and arrays."""
    arrays = {"batches": run.curriculum.batches, "rates": run.curriculum.learning_rates, "steps": run.steps}
    arrays |= {f"metric {name}": values for name, values in run.metrics.items()}
    arrays |= {f"derivative {name}": values for name, values in run.derivatives.items()}
    return Outcome(run.index, {"seed": int(run.seed), "role": run.role, "seconds": run.seconds}, arrays)


def run_of(outcome: Outcome) -> Run:
    """The run that ``outcome_of`` made an outcome of.

    Raises what the unit failed of, ``DivergedError`` with the run as far as it went among it.
    """
    if outcome.failure is not None and PARTIAL in outcome.settings:
        from gptfl.training.trainer import DivergedError

        raise DivergedError(outcome.failure["problem"], outcome.failure["remedy"], _run(outcome))
    outcome.check()
    return _run(outcome)


def _run(outcome: Outcome) -> Run:
    known, arrays = outcome.settings, outcome.arrays

    def named(kind: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(kind): values for name, values in arrays.items() if name.startswith(kind)}

    return Run(
        outcome.index,
        known["seed"],
        known["role"],
        Curriculum(arrays["batches"], arrays["rates"]),
        arrays["steps"],
        named("metric "),
        named("derivative "),
        known["seconds"],
    )
