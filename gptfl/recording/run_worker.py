"""Carries out runs in a process of an executor, which knows of them what ``run_units`` says."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from gptfl.core import TaskData
from gptfl.errors import DataError
from gptfl.plugins.guards import make_metric
from gptfl.plugins.registry import get_registry
from gptfl.plugins.work import Outcome, Unit, Work, failure_of
from gptfl.recording.run_units import PARTIAL, SKETCHES, outcome_of, plan_of
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.examples import example_from_json
from gptfl.training.checkpoints import CheckpointWriter
from gptfl.training.gradient_sketches import SketchSetup
from gptfl.training.sketch_blocks import take_part
from gptfl.training.trainer import DivergedError, RecordingTrainer, TrainerSettings


def rebuilt(work: Work) -> TrainerMaker:
    """The maker of trainers that ``describe`` described; the metrics are those that this process knows by name."""
    settings = work.settings
    pool, test = (
        tuple(example_from_json(row, f"{side} example {place + 1}") for place, row in enumerate(settings[side]))
        for side in ("pool", "test")
    )
    registry, kept = get_registry(), settings["checkpoints"]
    return TrainerMaker(
        settings["model"] if work.folder is None else work.folder,
        work.device,
        TaskData(settings["task"], pool, test),
        tuple(make_metric(registry, name) for name in settings["metrics"]),
        _recipe(settings["recipe"]),
        checkpoint_writer=None
        if kept is None
        else CheckpointWriter(Path(kept["folder"]), tuple(kept["steps"]), kept["recording"]),
    )


def _recipe(known: Mapping[str, Any]) -> TrainerSettings:
    names = {one.name for one in fields(TrainerSettings)}
    if set(known) != names:
        raise DataError(
            f"the worker's gptfl knows other settings of a trainer: {', '.join(sorted(names ^ set(known)))}",
            "install the same gptfl where the executor's workers run",
        )
    given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in known.items()}
    return TrainerSettings(**given)


def open_work(work: Work) -> Callable[[Unit, Callable[[int, int], None]], Outcome]:
    """What carries out runs, or sketches parts of the examples, in this process. Loads the model.

    It computes with as many threads as the work says. Raises ``DataError`` where the model has other weights here than
    where the work is asked for.
    """
    if work.threads is not None:
        torch.set_num_threads(work.threads)
    trainer = rebuilt(work)()
    found, wanted = trainer.network.loaded.weights_hash, work.settings["weights"]
    if wanted is not None and found != wanted:
        raise DataError(
            f"--model {work.settings['model']} has other weights on a worker ({found}) than here ({wanted})",
            "give a folder that every worker sees, or the same files",
        )

    if work.kind == SKETCHES:
        return _sketcher(trainer, work.settings[SKETCHES])

    def carry_out(unit: Unit, on_step: Callable[[int, int], None]) -> Outcome:
        try:
            return outcome_of(trainer.run(plan_of(unit), on_step))
        except DivergedError as error:
            kept = outcome_of(error.run)
            return replace(kept, settings={**kept.settings, PARTIAL: True}, failure=failure_of(error))

    return carry_out


def _sketcher(
    trainer: RecordingTrainer, known: Mapping[str, Any]
) -> Callable[[Unit, Callable[[int, int], None]], Outcome]:
    setup = SketchSetup.of(trainer, known["dimensions"], known["modules"], memory=known["memory"])

    def carry_out(unit: Unit, on_step: Callable[[int, int], None]) -> Outcome:
        part, parts = unit.settings["part"], unit.settings["parts"]
        return Outcome(unit.index, {}, take_part(trainer, plan_of(unit), known["points"], setup, part, parts, on_step))

    return carry_out
