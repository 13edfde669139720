"""Trains predicted runs by the recording's own settings, and holds the prediction against them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gptfl.core import TEST, Prediction, Progress, Run, TaskData, user_path
from gptfl.core.curriculum import recorded_steps, run_seed
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.paired import Pairing
from gptfl.evaluation.verification import Verification, named_batches, values_at
from gptfl.options.common import File
from gptfl.options.evaluation import VerifyOptions
from gptfl.plugins.guards import make_metric, runs_of
from gptfl.plugins.interfaces import Executor, Plan
from gptfl.plugins.work import Tally
from gptfl.recording.recipe import recipe_in_file
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.source import template_of
from gptfl.recording.tokens import check_tokens
from gptfl.recording.trainers import TrainerMaker, check_weights, model_of, recipe_of
from gptfl.scores import pointwise
from gptfl.scores.coverage import coverage
from gptfl.simulation.caveats import beyond_note, novelty_note, range_note, share_note
from gptfl.simulation.counterfactual import Counterfactual, SimulationRequest
from gptfl.simulation.outcome import Reference
from gptfl.simulation.simulator import FittedSimulator

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.training.trainer import RecordingTrainer, TrainerSettings


def check_made_here(
    source: FittedSimulator, model: str | None = None, recipe: File = None, chat_template: File = None
) -> None:
    """Raise ``DataError`` for a recording that can't be trained on, for others trained its runs.

    Args:
        source: the simulator, with its recording.
        model: that an imported recording's runs are said to have fine-tuned.
        recipe: the file that is said to be theirs.
        chat_template: the file of the template that is said to be theirs.

    An imported one can where model and recipe are given. Raises ``UsageError`` for a recipe or template of any other.
    """
    settings = source.recording.dynamics.settings
    for flag, given in (("--recipe", recipe), ("--chat-template", chat_template)):
        if given is not None and not settings.imported:
            raise UsageError(f"{flag} {given} is of imported recordings, and this one has its own", "leave it out")
    if settings.own_run:
        raise DataError(
            f"{source.recording.path} was recorded while you trained: gptfl can't carry out your recipe",
            "train on the subset yourself, with the same GptflCallback or Recorder, and simulate it to compare",
        )
    if settings.imported and (model is None or recipe is None):
        raise DataError(
            f"{source.recording.path} was imported: gptfl knows no model and no recipe to train it by",
            "give both to gptfl verify (--model, --recipe), or use a recording that gptfl collect made",
        )


SAME_START = 0.02
"""What the untrained model scores may be so far off what an import recorded, as half precision or padding makes it."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The trainings that were asked about, and what carries them out."""

    source: FittedSimulator
    request: SimulationRequest
    plans: tuple[Plan, ...]
    maker: TrainerMaker
    recipe: "TrainerSettings"
    model: str
    labels: tuple[str, ...] = ()
    """What each training is called."""

    @classmethod
    def of(
        cls,
        source: FittedSimulator,
        request: SimulationRequest,
        choice: Counterfactual,
        options: VerifyOptions,
        progress: Progress,
        pairing: Pairing | None = None,
    ) -> "TrainingPlan":
        """What it takes to train the runs of a question.

        Args:
            source: the simulator that answered.
            request: the curricula.
            choice: how the question was put.
            options: where the texts are, which model, which device.
            progress: called along the way.
            pairing: what the question is held against, whose trainings come after its own, with the same seeds.

        Raises ``DataError`` where the recording doesn't say how it was made.
        """
        recording = source.recording
        recipe = replace(_recipe(recording, options), derivatives=False, processes=1, shard=False)
        if choice.overrides.learning_rate is not None:
            recipe = replace(recipe, learning_rate=choice.overrides.learning_rate)
        by = "its settings" if options.recipe is None else f"--recipe {options.recipe}"
        check_rates(recipe, request.query.learning_rates, recording.path, by)
        pool, test = with_texts(recording, options.data)
        if options.recipe is not None:
            chat = any(example.turns for example in (*pool, *test))
            recipe = replace(recipe, chat_template=template_of(options.chat_template, chat))
        metric = make_metric(recording.registry, source.metric.name)
        metric.check(test)
        sides = [request] if pairing is None else [request, pairing.theirs]
        each = [(side, order, batches) for side in sides for order, batches in enumerate(side.query.batches)]
        plans = tuple(
            Plan(index, run_seed(options.seed, order), TEST, batches) for index, (_, order, batches) in enumerate(each)
        )
        labels = tuple(f"{side.labels[order]}: {side.what}" for side, order, _ in each)
        name = model_of(recording, options.model)
        task = TaskData(recording.dynamics.settings.task, pool, test)
        maker = TrainerMaker(name, options.device, task, (metric,), recipe, progress)
        return cls(source, request, plans, maker, recipe, name, labels)

    def estimate(self) -> "CostEstimate":
        """What it will cost; the model is loaded for that."""
        from gptfl.recording.cost import Size, estimate

        trainer = self._trainer()
        total = self.request.recipe.steps
        generates = trainer.evaluator.generator is not None
        every = self.recipe.generate_every or self.recipe.record_every
        batches = self.request.query.batches
        size = Size(
            runs=len(self.plans),
            runs_left=len(self.plans),
            steps=total,
            recorded=len(recorded_steps(total, self.recipe.record_every)),
            subset=len(np.unique(batches[batches >= 0])),
            batch_size=batches.shape[2],
            metrics=1,
            generated=len(recorded_steps(total, every)) if generates else 0,
        )
        return estimate(trainer, self.plans[0], size, ())

    def train(self, executor: Executor, progress: Progress) -> list[Run]:
        """Train; the runs in order. Raises ``DataError`` where one diverges."""
        self._trainer()
        each = self.request.recipe.steps
        total = each * len(self.plans)

        tally = Tally()

        def on_step(index: int, done: int, steps: int) -> None:
            progress("train", tally.add(index, done), total, self.labels[index])

        runs = {run.index: run for run in runs_of(executor, self.maker, self.plans, on_step)}
        return [runs[plan.index] for plan in self.plans]

    def _trainer(self) -> "RecordingTrainer":
        """The trainer, its model loaded and known to be the recorded one."""
        trainer = self.maker()
        recording = self.source.recording
        check_weights(recording, trainer.network.loaded.weights_hash, self.model)
        tests, choices = trainer.evaluator.test, trainer.evaluator.choices
        check_tokens(recording.dynamics.settings, trainer.tokenizer, trainer.pool, tests, choices, str(recording.path))
        return trainer


def _recipe(recording: OpenedRecording, options: VerifyOptions) -> "TrainerSettings":
    """How the recording's runs were trained: as it says itself, or of an imported one as ``--recipe`` does."""
    if options.recipe is None:
        return recipe_of(recording.dynamics)
    return recipe_in_file(user_path(options.recipe), recording.dynamics, options.device, options.seed)


def check_rates(recipe: "TrainerSettings", predicted: Float[np.ndarray, "... step"], path: Path, by: str) -> None:
    """Raise ``DataError`` unless trainings by a recipe have the learning rates that were predicted.

    Args:
        recipe: by which they are trained.
        predicted: the learning rates of the curricula that the simulator was asked about.
        path: of the recording, for the message.
        by: where the recipe is from.
    """
    if not np.allclose(recipe.rates(predicted.shape[-1]), predicted, rtol=1e-6):
        raise DataError(
            f"the learning rates of the runs in {path} are not those of {by}",
            "record it again, or for an imported one give the recipe that it was trained by",
        )


def verified(
    source: FittedSimulator,
    request: SimulationRequest,
    prediction: Prediction,
    average: Reference,
    runs: Sequence[Run],
    seconds: float,
) -> Verification:
    """What was predicted beside what training gave, scored; nothing is written.

    Args:
        source: the simulator.
        request: the curricula that were asked about.
        prediction: what it answered.
        average: the average recorded run, against which skill is measured.
        runs: the same curricula, really trained.
        seconds: that the training took.
    """
    steps = request.query.steps
    recorded = np.stack([values_at(run, source.metric.name, steps) for run in runs])
    predicted = prediction.values.astype(np.float64)
    known = np.where(np.isfinite(average.values), recorded, np.nan)
    means = np.broadcast_to(average.values, known.shape)
    skill = pointwise.skill(predicted, known, means)
    ids = [example.id for example in source.scope.pool]
    return Verification(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        what=request.what,
        labels=request.labels,
        tests=tuple(example.id for example in source.scope.test),
        steps=steps,
        predicted=predicted,
        recorded=recorded,
        reference=average.values,
        batches=named_batches(runs, ids),
        mse=pointwise.mean_and_std(pointwise.all_steps_mse(predicted, recorded))[0],
        rho=pointwise.mean_and_std(pointwise.final_spearman(predicted, recorded))[0],
        skill=skill if np.isfinite(skill) else None,
        coverage={level: coverage(low, high, recorded) for level, (low, high) in sorted(prediction.intervals.items())},
        seconds=seconds,
        intervals=prediction.intervals,
        binary=source.recording.dynamics.is_binary(source.metric),
        notes=(
            *source.notes,
            *source.recording.notes,
            *request.notes,
            *_taken_note(source, request, recorded),
            *average.notes,
            *share_note(source.world, request.query.batches),
            *novelty_note(prediction.novelty),
            *range_note(predicted[:, -1].mean(axis=0), source.metric),
            *beyond_note(predicted[:, -1].mean(axis=0), source.recording.dynamics, source.metric, int(steps[-1])),
        ),
    )


def _taken_note(
    source: FittedSimulator, request: SimulationRequest, recorded: Float[np.ndarray, "run asked test"]
) -> tuple[str, ...]:
    """That model and recipe of an imported recording are taken from the options, and whether the model bears it out."""
    if not source.recording.dynamics.settings.imported:
        return ()
    taken = (
        "nothing in an imported recording says its model and recipe: they are taken to be those of --model and --recipe"
    )
    if request.query.steps[0] != 0:
        return (taken,)
    first = request.query.first
    off = float(np.nanmean(np.abs(recorded[:, 0] - first)) / max(float(np.nanmean(np.abs(first))), 1e-12))
    if off <= SAME_START:
        return (taken,)
    return (
        f"{taken}, but before any step this model's {source.metric.name} is {off:.0%} off what was recorded: another model, "
        "or other tokens",
    )
