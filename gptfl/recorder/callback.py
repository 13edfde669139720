"""Records the runs of a transformers Trainer, and of the trainers of TRL, which are such."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from transformers import Trainer, TrainerCallback

from gptfl.core.recording_settings import PER_TOKEN
from gptfl.errors import DataError, UsageError
from gptfl.recorder.batches import number_batches, taken_places
from gptfl.recorder.inputs import WatchOptions, check_names, check_text, listed, names_of, say
from gptfl.recorder.measures import MARGIN, Measure, infos_of, measures_of
from gptfl.recorder.own_losses import OwnLosses
from gptfl.recorder.recorder import Recorder
from gptfl.recorder.trainer_recipe import check_loss, watch_clipping
from gptfl.recorder.training_ids import ids_of_rows
from gptfl.recorder.trl_rows import packs, test_rows
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.jsonlines import read_plain

STATE, MAX_STATE = "gptfl-run.json", 2**30
"""The file in a checkpoint that the run goes on from, and its bytes at most."""


class GptflCallback(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Records each call of ``trainer.train()`` as a run: ids, step sizes, and the test examples' losses.

    The training is what it would be without the callback, to the last bit. With two earlier runs in the recording it says
    after each evaluation where the run will end, and logs that to the trainer's trackers.

    Args:
        name: what the recording's files are called in the workspace.
        pool: every training example that any run may see, with ids; by default the trainer's training set, if every run
            passes through the same one and isn't packed.
        test: test examples with prompt and target, or with input_ids and labels; by default the trainer's eval set.
        every: after how many optimiser steps they are measured; also before the first and after the last.
        id_column: the column of the training set (and of the pool) that holds the ids.
        ids: the ids of the training set's rows in order, where it has no such column; a list for a row of several.
        measure: functions without arguments, by the names of metrics, that give one number for each test example.
        higher_is_better: the names of those of which more is better.
        workspace: the folder, by default that of the commands.
        batch_size: how many test examples are measured at a time, by default the trainer's evaluation batch.
        own_losses: keep the training rows' own losses, from the outputs that the trainer computes anyway.
        groups: names of groups of test ids, each of which is forecast, too.
        forecast: whether to forecast.
        simulator: the file of a simulator to forecast with, rather than one fitted to the earlier runs on the spot.
        stop_when: a function of the forecast, or a number: stop once the whole 90 % band is worse than that.
        say: what prints a line.
        model_name: what the model is called.
        sketches_at: at which steps to take gradient sketches of the pool and the test examples: steps, a number of steps
            from one to the next, or ``"auto"`` for four. A recording keeps those of one run.
        sketch_dimensions: numbers of a sketch.
        sketch_modules: a shell pattern for the names of the trained weights that count.

    Problems raise ``GptflError`` when the training begins.
    """

    def __init__(
        self,
        name: str,
        *,
        pool: Iterable[Any] | None = None,
        test: Iterable[Any] | None = None,
        every: int = 10,
        id_column: str = "id",
        ids: Iterable[Any] | None = None,
        measure: Measure | Mapping[str, Measure] | None = None,
        higher_is_better: Iterable[str] = (),
        workspace: str | Path | None = None,
        batch_size: int | None = None,
        own_losses: bool = False,
        **more: Unpack[WatchOptions],
    ) -> None:
        check_names(more, type(self).__init__, "gptfl.GptflCallback")
        check_text(name, "name")
        check_text(id_column, "id_column")
        self.id_column, self.ids, self.say = (
            id_column,
            None if ids is None else listed(ids, "ids"),
            more.get("say", say),
        )
        self.given_pool = None if pool is None else listed(pool, "pool")
        self.given_test = None if test is None else listed(test, "test")
        self.measure, self.batch_size, self.own_losses = measure, batch_size, own_losses
        self.options: dict[str, Any] = {
            "name": name,
            "every": every,
            "higher_is_better": tuple(names_of(higher_is_better, "higher_is_better")),
            "workspace": workspace,
            **more,
        }
        self.trainer: Any = None
        self.recorder: Recorder | None = None
        self._restore: list[Callable[[], None]] = []
        self._pending: list[list[list[int]]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a run, or go on with the one of the checkpoint that the trainer resumes from."""
        self._leave()
        if self.recorder is not None and self.recorder.running:
            self.recorder.abandon("early")
        self.trainer, resumed = _caller()
        self._check(args)
        self._row_ids = ids_of_rows(self.trainer, self.ids, self.id_column, self.given_pool)
        self._members = sorted({name for names in self._row_ids for name in names})
        self.recorder = self._recorder(args)
        self.recorder._places(self._members)  # before any training: every id must be in the pool
        known = None
        if state.global_step > 0:
            known = _read_state(resumed or Path(args.output_dir) / f"checkpoint-{state.global_step}", state.global_step)
        self._losses = OwnLosses(self.trainer.model) if self.own_losses else None
        self._attach(kwargs["train_dataloader"])
        self._clip_factor: float | None = None
        self.recorder.sketcher.optimiser = kwargs.get("optimizer")
        try:
            self.recorder.begin(
                steps=state.max_steps,
                ids=self._members,
                rates=_planned_rates(kwargs.get("lr_scheduler")),
                seed=args.seed,
                resume=known,
            )
        except BaseException:
            self._leave()
            raise
        if known is None:
            self._log_measured()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the step size that was just taken, before the schedule goes on."""
        skipped = bool(self.trainer.accelerator.optimizer_step_was_skipped)
        self._rate = 0.0 if skipped else _rate_of(kwargs["optimizer"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Record the step; measure, forecast and log each ``every`` steps."""
        recorder = self._recording()
        if not self._pending:
            raise DataError("a step was taken without a batch", "leave the Trainer's own training loop")
        rows = [place for batch in self._pending.pop(0) for place in batch]
        ids = [name for place in rows for name in self._row_ids[place]]
        losses = None if self._losses is None else self._losses.taken(len(ids), self.say)
        last = state.global_step >= state.max_steps or control.should_training_stop
        recorder.step(ids, self._rate, losses, last=last, clip_factor=self._clip_factor)
        run = recorder._running()
        if run.measured[-1] == run.step:
            self._log_measured()
        if recorder.should_stop:
            control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the run so far beside the trainer's checkpoint."""
        if self.recorder is None or not self.recorder.running:
            return
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE
        try:
            with part_of(path) as part:
                part.write_text(json.dumps(self.recorder.state_dict()), encoding="utf-8")
                put_in_place(part, path)
        except OSError as error:
            raise cannot_write(path, error) from error

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Append the run to the recording."""
        recorder = self._recording()
        self._leave()
        # The model may be another by now, the best one of the run.
        if args.load_best_model_at_end:
            recorder.finish_as_measured()
        else:
            recorder.finish()

    def _recording(self) -> Recorder:
        if self.recorder is None or not self.recorder.running:
            raise UsageError("the callback records no run", "give it to the Trainer before trainer.train()")
        return self.recorder

    def _check(self, args: Any) -> None:
        """Raise ``UsageError`` for what can't be recorded honestly."""
        if args.world_size > 1:
            raise UsageError(
                f"{args.world_size} processes train, and each knows the ids of its own batches only",
                "record with one process",
            )
        if self.trainer.train_dataset is None:
            raise UsageError("the Trainer has no train_dataset", "give it one")

    def _recorder(self, args: Any) -> Recorder:
        trainer = self.trainer
        tokenizer = getattr(trainer, "processing_class", None)
        pool = self.given_pool
        if pool is None:
            rows = trainer.train_dataset
            pool = []
            for place, (name,) in enumerate(self._row_ids):
                if not isinstance(rows[place], Mapping):
                    raise DataError(f"row {place} of the training set is a {type(rows[place]).__name__}", "give pool=")
                pool.append({**rows[place], self.id_column: name})
        test = self.given_test
        if test is None:
            found = trainer.eval_dataset
            if found is None or isinstance(found, Mapping):
                raise UsageError("the callback has no test examples", "give it test=, or the Trainer one eval_dataset")
            if packs(trainer, train=False):
                raise UsageError(
                    "the Trainer packs its eval set, whose rows are several examples each",
                    "give the callback test=, or the Trainer eval_packing=False",
                )
            test = [found[place] for place in range(len(found))]
        test = test_rows(trainer, test, self.id_column)
        size = self.batch_size or args.per_device_eval_batch_size
        recorder = _CallbackRecorder(
            pool=pool,
            test=test,
            model=trainer.model,
            tokenizer=tokenizer,
            measure=self.measure if self.measure is not None else (lambda: None),
            batch_size=size,
            id_column=self.id_column,
            **self.options,
        )
        if recorder.sketcher.spec is not None:
            check_loss(trainer)
            recorder.sketcher.collate, recorder.sketcher.loss_mean = trainer.data_collator, PER_TOKEN
            recorder.sketcher.rows = (test_rows(trainer, pool, self.id_column), test)
        if self.measure is None:
            around = trainer.compute_loss_context_manager
            made = measures_of(
                None,
                trainer.model,
                tokenizer=tokenizer,
                rows=test,
                test=recorder.test,
                batch_size=size,
                collate=trainer.data_collator,
                around=around,
            )
            recorder.measures, recorder.metrics = made, infos_of(made, {MARGIN} & made.keys())
        return recorder

    def _attach(self, loader: Any) -> None:
        """Let batches bring the places of their rows, and take them out before the trainer looks at them."""
        trainer, self._pending = self.trainer, []
        # Collators of transformers and TRL make tensors of every column that is left, and an id is no input.
        known = type(trainer.data_collator).__module__.split(".")[0] in ("transformers", "trl")
        number_batches(loader, self.id_column if known else None)
        plain = trainer.get_batch_samples

        def numbered(*args: Any, **kwargs: Any) -> Any:
            batches, count = plain(*args, **kwargs)
            if batches:
                self._pending.append(taken_places(batches))
            return batches, count

        trainer.get_batch_samples = numbered
        self._restore.append(lambda: trainer.__dict__.pop("get_batch_samples", None))
        if self._losses is not None:
            self._restore.append(self._losses.remove)
        if self.recorder is not None and self.recorder.sketcher.spec is not None:
            self._restore.append(watch_clipping(trainer, self._shortened))

    def _shortened(self, factor: float) -> None:
        self._clip_factor = factor

    def _leave(self) -> None:
        """Make the trainer what it was before."""
        while self._restore:
            self._restore.pop()()

    def _log_measured(self) -> None:
        """Give the trainer's trackers the mean of each metric, and the forecast."""
        recorder = self._recording()
        run = recorder._running()
        logs = {f"gptfl/{name}": float(np.mean(found[-1])) for name, found in run.values.items()}
        if recorder.forecast is not None and recorder.forecast.step == run.step:
            logs |= recorder.forecast.logs()
        # To log takes back the wish to log, which the trainer may have for the same step.
        should_log = self.trainer.control.should_log
        self.trainer.log(logs)
        self.trainer.control.should_log = should_log


class _CallbackRecorder(Recorder):
    made_by = "gptfl.GptflCallback"


def _caller() -> tuple[Any, Path | None]:
    """The Trainer that calls, and the checkpoint that it resumes from, where it says so.

    transformers hands a callback everything but the trainer itself, whose ``log`` alone reaches all trackers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer):
            known = frame.f_locals.get("resume_from_checkpoint")
            return found, Path(known) if isinstance(known, str | Path) else None
        frame = frame.f_back
    raise UsageError("no transformers.Trainer calls the callback", "record other loops with gptfl.Recorder")


def _read_state(checkpoint: Path, step: int) -> dict[str, Any]:
    path = checkpoint / STATE
    try:
        found = json.loads(read_plain(path, MAX_STATE))
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} can't be read, so the run's first {step} steps aren't known",
            "resume from a checkpoint that was saved with the callback, or begin the run anew",
        ) from error
    places = found.get("places") if isinstance(found, dict) else None
    if not isinstance(places, list) or len(places) != step:
        raise DataError(f"{path} is not of step {step}", "resume from a checkpoint that was saved with the callback")
    return dict(found)


def _rate_of(optimizer: Any) -> float:
    """The step size of the optimiser's groups; the largest where they differ."""
    return float(max(group["lr"] for group in optimizer.param_groups))


def _planned_rates(scheduler: Any) -> Callable[[int], float] | None:
    """The step sizes that a schedule of factors will give; None for another one."""
    inner = getattr(scheduler, "scheduler", scheduler)
    factors, bases = getattr(inner, "lr_lambdas", None), getattr(inner, "base_lrs", None)
    if not factors or not bases:
        return None
    return lambda step: max(float(base) * float(factor(step)) for base, factor in zip(bases, factors, strict=True))
