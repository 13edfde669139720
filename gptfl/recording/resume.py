"""A recording on its way to disk: what is left to do, whether it may go on, and keeping each run."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptfl.core import (
    Dynamics,
    Progress,
    RecordingSettings,
    Run,
    TaskData,
    examples_fingerprint,
    without_texts,
)
from gptfl.core.curriculum import recorded_steps
from gptfl.designs.draws import Draw
from gptfl.errors import DataError, ResourceError
from gptfl.plugins.guards import runs_of, workers_of
from gptfl.plugins.interfaces import Executor, Metric, Plan
from gptfl.plugins.work import Tally
from gptfl.recording.batching import weighed
from gptfl.recording.identify import identify, plan_of_design
from gptfl.recording.reference_run import ReferenceJob
from gptfl.recording.sketch_units import shares_out
from gptfl.recording.tokens import mark_tokens
from gptfl.recording.trainers import TrainerMaker, is_newer
from gptfl.store.durable import cannot_write
from gptfl.store.recordings import append_run, check_nothing_beside, merge_runs, read_dynamics, write_dynamics

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.training.checkpoints import CheckpointWriter
    from gptfl.training.trainer import RecordingTrainer


KEPT = "finished runs are kept, the same command goes on from there"
NONE_KEPT = "no run was finished, the same command begins anew"


@dataclass
class RecordingJob:
    """What is to be recorded under one path, and the runs that are there already."""

    path: Path
    settings: RecordingSettings
    data: TaskData
    metrics: tuple[Metric, ...]
    plans: list[Plan]
    texts: bool
    reference: ReferenceJob | None = None
    checkpoint_writer: "CheckpointWriter | None" = None
    draws: Sequence[Draw] = ()
    reserved: tuple[int, ...] = ()
    """What the plans were made from, and the places of the pool that only runs to test draw from."""
    whole_steps: int | None = None
    """How many steps the asked epochs of the whole pool take."""
    _present: frozenset[int] = frozenset()
    _recorded: Dynamics | None = None
    _is_read: bool = False

    def left(self) -> list[Plan]:
        """The plans that no recorded run carries out yet, and those of which a checkpoint is missing.

        Raises ``DataError`` if the path holds a recording of other settings, examples or weights.
        """
        existing = self._existing()
        self._present = frozenset() if existing is None else frozenset(run.index for run in existing.runs)
        done = {
            index
            for index in self._present
            if self.checkpoint_writer is None or not self.checkpoint_writer.missing(index)
        }
        return [plan for plan in self.plans if plan.index not in done]

    def left_by(self, trainer: "RecordingTrainer") -> list[Plan]:
        """As ``left``, now that weights and tokens are known: they must be the recorded ones."""
        settings = self.settings.having(weights=trainer.network.loaded.weights_hash)
        self.settings = mark_tokens(settings, trainer)
        self.data = replace(self.data, pool=weighed(self.data.pool, trainer))
        return self.left()

    def check_name(self, make_trainer: TrainerMaker) -> None:
        """Load a model that has another name than the recorded one, for only its weights tell whether it is that.

        So with one of the same name, whose weights were written after the recording. Raises ``DataError`` where it
        isn't the recorded one. No other process has to take part.
        """
        existing = self._existing()
        known = self.settings
        if existing is None:
            return
        is_same_model = existing.settings.model == known.model or existing.settings.source == known.source
        if is_same_model and not is_newer(make_trainer.model, self.path):
            return
        from gptfl.training.load import load_model

        loaded = load_model(make_trainer.model, progress=make_trainer.progress)
        self.settings = known.having(weights=loaded.weights_hash)
        self._existing()

    def lacks_gradients(self) -> bool:
        """Whether anything along a reference run is asked for and not there yet; raises as ``left``."""
        return self.reference is not None and self.reference.lacks(self._existing())

    def record_reference(
        self, trainer: "RecordingTrainer", progress: Progress, executor: Executor, make_trainer: TrainerMaker
    ) -> tuple[str, ...]:
        """Add what is asked for along a reference run and not there yet; returns what that was.

        Args:
            trainer: carries it out.
            progress: called along the way.
            executor: shares sketches out where it has several workers.
            make_trainer: makes their trainers.
        """
        if self.reference is None or not self.lacks_gradients():
            return ()
        return self.reference.record(trainer, self._existing(), progress, executor, make_trainer)

    def again(self, left: list[Plan]) -> int:
        """How many of these are recorded already and are only carried out again for their checkpoints."""
        return sum(plan.index in self._present for plan in left)

    def recorded(self) -> Dynamics | None:
        """The recording under the path, with the runs that this job put there; None where there is none.

        It is read once. Raises ``DataError`` for a file that is no recording, ``ResourceError`` for a path out of reach.
        """
        if not self._is_read:
            try:
                there = self.path.exists()
            except OSError as error:
                raise cannot_write(self.path, error) from error
            self._recorded = read_dynamics(self.path) if there else None
            self._is_read = True
        return self._recorded

    def mark(self) -> str:
        """What identifies the recording in its checkpoints: its settings, with the model called as it is recorded."""
        existing, settings = self.recorded(), self.settings
        # It may lie elsewhere now, where only its weights tell that it is the same.
        if existing is not None and existing.settings.weights is not None and existing.settings.model:
            settings = settings.having(model=existing.settings.model)
        return settings.identity(examples_fingerprint(self.data.pool, self.data.test))

    def _existing(self) -> Dynamics | None:
        existing = self.recorded()
        if existing is None:
            try:
                check_nothing_beside(self.path)
            except OSError as error:
                raise cannot_write(self.path, error) from error
            return None
        if existing.settings.own_run:
            raise DataError(f"{self.path} holds runs of your own training", "record under another --name")
        if existing.settings.imported:
            raise DataError(f"{self.path} was imported and can't be continued", "record under another --name")
        differing = self.settings.difference(existing.settings)
        if differing is not None:
            was, now = differing
            raise DataError(
                f"{self.path} was recorded with {was}, not {now}",
                "record under another --name, or ask for the same settings to go on",
            )
        if existing.examples != self.dynamics(()).examples:
            raise DataError(f"{self.path} was recorded on other examples", "record under another --name")
        weights = self.settings.weights
        if weights is not None and existing.settings.weights != weights:
            raise DataError(
                f"{self.path} was recorded from --model {existing.settings.model}, and --model "
                f"{self.settings.model} has other weights",
                "record under another --name",
            )
        if weights is not None and existing.settings.tokenization != self.settings.tokenization:
            raise DataError(
                f"{self.path} was recorded with other tokens: some of its prompts and targets are tokenized in another "
                "way now",
                "record under another --name",
            )
        self._check_curricula(existing)
        return existing

    def _check_curricula(self, existing: Dynamics) -> None:
        """Raise ``DataError`` where a recorded run was trained on other batches than its design deals it now.

        A version that dealt them otherwise leaves the same settings.
        """
        plans = {plan.index: plan.batches for plan in self.plans}
        for run in existing.runs:
            batches = run.curriculum.batches
            # A run that diverged has the first of them.
            if run.index in plans and not np.array_equal(plans[run.index][: len(batches)], batches):
                raise DataError(
                    f"{self.path}: {run.name} was trained on other batches than this version of gptfl gives it by "
                    f"--design {self.settings.design}",
                    "record under another --name, or use the recording as it is",
                )

    def estimate(
        self,
        trainer: "RecordingTrainer",
        left: list[Plan],
        announce: Callable[["CostEstimate"], None] | None,
        executor: Executor | None = None,
    ) -> "CostEstimate":
        """Estimate what is left, and tell.

        Args:
            trainer: is timed.
            left: the plans that are left.
            announce: called with the estimate, None for nobody.
            executor: carries the runs out, maybe several at once; None for one after another.
        """
        from gptfl.recording.cost import Size, estimate

        known = self.settings
        recorded, generated = len(recorded_steps(known.steps, known.record_every)), 0
        if "decode" in known:
            generated = len(recorded_steps(known.steps, known.generate_every or known.record_every))
        size = Size(
            len(self.plans),
            len(left),
            steps=known.steps,
            recorded=recorded,
            subset=known.subset_size,
            batch_size=round(float((self.plans[0].batches >= 0).sum(axis=1).mean())),
            metrics=len(self.metrics),
            generated=generated,
        )
        guess = estimate(trainer, left[0] if left else self.plans[0], size, (*_notes(trainer), *self.data.notes))
        guess = replace(guess, whole_steps=self.whole_steps, follows_gradients=self.reference is not None)
        if executor is not None:
            guess = replace(guess, workers=workers_of(executor))
        guess = replace(guess, **plan_of_design(known, self.data.pool))
        if self.draws:
            rates = trainer.recipe.rates(known.steps)
            told = identify(self.draws, self.plans, rates, self.data.pool, self.reserved, known.by)
            guess = replace(guess, identifies=told)
        if self.reference is not None:
            products, sketches = self.reference.left(self._existing())
            per_step = guess.seconds_per_step
            if products:
                guess = replace(guess, gradients=self.reference.cost(trainer, per_step))
            if sketches:  # along the same run
                cost = self.reference.sketch_cost(trainer, 0.0 if products else per_step)
                if executor is not None and shares_out(executor) and not products:
                    cost = replace(cost, workers=workers_of(executor))
                guess = replace(guess, sketches=cost)
            guess = replace(guess, reference_bytes=self.reference.kept_bytes(trainer, self._existing()))
        if announce is not None:
            announce(guess)
        if self.checkpoint_writer is not None:
            self.checkpoint_writer.check_room(guess.checkpoint_bytes)
        return guess

    def record(self, executor: Executor, make_trainer: TrainerMaker, left: list[Plan], progress: Progress) -> None:
        """Carry out the runs that are left. Each is on disk, beside the recording until all are, before it is reported.

        Args:
            executor: carries them out.
            make_trainer: makes this process's trainer.
            left: their batches and seeds.
            progress: called along the way.
        """
        from gptfl.training.trainer import DivergedError

        tally = Tally()
        number = {plan.index: order + 1 for order, plan in enumerate(self.plans)}
        total = sum(len(plan.batches) for plan in left)

        def on_step(index: int, done: int, steps: int) -> None:
            progress("collect", tally.add(index, done), total, f"run {number[index]} of {len(self.plans)}")

        try:
            with closing(runs_of(executor, make_trainer, left, on_step)) as runs:
                for run in runs:
                    self._check_saved(run)
                    self.keep(run)
        except DivergedError as error:
            diverged_path = self.path.with_name(
                self.path.name.removesuffix(".dynamics.h5") + f".{error.run.name}.diverged.h5"
            )
            write_dynamics(diverged_path, self.dynamics((error.run,)))
            self.merge()
            kept = f"; the finished runs are in {self.path}" if self.path.exists() else ""
            raise DataError(
                error.problem, f"{error.remedy}; the run up to there is in {diverged_path}{kept}"
            ) from error
        self.merge()

    def _check_saved(self, run: Run) -> None:
        """Raise ``ResourceError`` where a run's checkpoints aren't here, as a worker on another machine may leave them."""
        writer = self.checkpoint_writer
        if writer is not None and writer.missing(run.index):
            raise ResourceError(
                f"{run.name} was carried out, and its checkpoints are not in {writer.folder}",
                "take a --workspace that all workers see under the same path, or leave --checkpoints out",
            )

    def keep(self, run: Run) -> None:
        """Put one finished run on disk, unless it is there and was only carried out again for its checkpoints."""
        if run.index in self._present:
            return
        there = self.recorded() or self.dynamics(())
        if self.path.exists():
            append_run(self.path, run)
        else:
            write_dynamics(self.path, self.dynamics((run,)))
        runs = sorted((*there.runs, run), key=lambda run: run.index)
        self._recorded = replace(there, runs=tuple(runs))

    def merge(self) -> None:
        """Put the runs that lie beside the recording into it."""
        if self.path.exists():
            merge_runs(self.path)

    def dynamics(self, runs: tuple[Run, ...]) -> Dynamics:
        """A recording of these runs with this one's examples and settings."""
        pool, test = self.data.pool, self.data.test
        if not self.texts:
            pool, test = without_texts(pool, test)
        infos = {metric.info.name: metric.info for metric in self.metrics}
        return Dynamics(pool, test, infos, runs, self.settings)


def left_at(path: Path) -> str:
    """What a recording under this path that ended early has left; the first finished run makes the file."""
    try:
        return KEPT if path.is_file() else NONE_KEPT
    except OSError:
        return NONE_KEPT


def _notes(trainer: "RecordingTrainer") -> tuple[str, ...]:
    notes = [*trainer.network.loaded.notes, *trainer.tokenizer.notes]
    recipe = trainer.recipe
    top = "top block" if recipe.train_layers == 1 else f"top {recipe.train_layers} blocks"
    if recipe.lora:
        where = f" in the {top}" if recipe.train_layers else ""
        notes.append(f"only adapters ({recipe.lora}){where} are trained")
    elif recipe.train_layers:
        notes.append(f"only the {top} and the final norm are trained")
    if recipe.processes > 1 and trainer.network.drops:
        notes.append("each process draws its own dropout: with another --processes the outcome would be another")
    return tuple(filter(None, notes))
