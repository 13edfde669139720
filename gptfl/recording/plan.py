"""The plan of a recording: from what was asked for to everything decided, the presets and defaults among it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gptfl.core import RecordingSettings, TaskData
from gptfl.core.curriculum import check_seed, recorded_steps
from gptfl.core.packing import Batching
from gptfl.core.recording_settings import SETTINGS
from gptfl.core.schedules import check_warmup
from gptfl.designs.draws import BALANCED, CONTRAST, UNIFORM
from gptfl.options.base import check, check_one
from gptfl.options.recording import CollectOptions, TrainingOptions
from gptfl.plugins.guards import make_executor, make_metric, workers_of
from gptfl.plugins.interfaces import Executor, Metric
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import utf8
from gptfl.recording.batching import choose_batches
from gptfl.recording.design import Design, choose_design, half_of
from gptfl.recording.gradient_request import Request, check_size, read_request
from gptfl.recording.plan_checks import check_generation, check_name, check_recording_size, check_together
from gptfl.recording.recipe import check_optimiser, check_quantised, recipe_settings
from gptfl.recording.sketch_request import SketchRequest, read_sketch_request
from gptfl.recording.source import count_examples, open_source, token_settings
from gptfl.store.workspace import stem_for
from gptfl.tasks.label_noise import check_share
from gptfl.tasks.mixture import ExampleSource, task_names
from gptfl.tasks.own_data import LORA_RATE, OwnData
from gptfl.training.lora import parse_lora
from gptfl.training.names import ModelSource, resolve_model

if TYPE_CHECKING:
    from gptfl.training.trainer import TrainerSettings


@dataclass(frozen=True, slots=True)
class Preset:
    """What holds of these options unless they are given."""

    runs: int
    design: str
    sketching: str | None
    """The option that asks for gradient sketches, if one does."""
    halves: bool
    """Whether each run has half of the pool, in the designs that leave it open how many examples a run has."""


PAPER = Preset(32, UNIFORM, None, halves=False)
FEW_RUNS = Preset(6, CONTRAST, "--few-runs", halves=True)
"""What the estimator exposure-gp needs and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """A recording with all decided that its options leave open; only its examples aren't known yet."""

    options: CollectOptions
    task: str
    source: ExampleSource
    model: ModelSource
    metrics: tuple[Metric, ...]
    executor: Executor
    design: Design
    test: int
    """How many test examples there are."""
    steps: int
    batching: Batching
    whole_steps: int | None
    """How many steps the asked epochs of the whole pool take; None where none were asked for."""
    trainer: "TrainerSettings"
    device: str
    """The kind of device."""
    gradients: Request
    sketches: SketchRequest | None
    checkpoints: tuple[int, ...] | None
    """The steps whose weights are saved; None for none."""
    notes: tuple[str, ...] = ()
    """What was decided that may surprise."""

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return self.options.output.name or stem_for(self.task, self.model.stem)

    def load(self) -> TaskData:
        """Its examples; those marked that are set aside. Raises ``DataError`` where the task has too few of them."""
        loaded = self.source.load(self.design.pool, self.test, self.options.execution.seed)
        return replace(loaded, notes=(*loaded.notes, *self.notes))

    def settings(self, examples: TaskData, trainer: "TrainerSettings") -> RecordingSettings:
        """What the recording keeps of how it was made; ``trainer`` knows how many processes there are."""
        options = self.options
        data = options.examples.data
        settings = {
            "task": self.task,
            "data": None if data is None else utf8(data),
            "model": utf8(self.model.name),
            "source": utf8(self.model.location),
            "pool": self.design.pool,
            "test": self.test,
            "subset_size": self.design.subset,
            **self.design.settings,
            "batch_size": options.training.batch_size,
            "steps": self.steps,
            "seed": options.execution.seed,
            "device": self.device,
            "metrics": [metric.info.name for metric in self.metrics],
            "texts": options.output.texts,
            "instructions": self.source.instructions,
            "flip_labels": options.examples.flip_labels,
            "data_source": examples.source,
            "licence": examples.licence,
            **trainer.to_json(),
        }
        own = self.source.task
        settings |= own.settings() if isinstance(own, OwnData) else {}
        generates = reads_text(self.metrics)
        return RecordingSettings.of(
            {key: value for key, value in settings.items() if SETTINGS[key].kept(value, generates)}
        )


def plan_recording(options: CollectOptions, registry: Registry) -> RecordingPlan:
    """Decide what the options leave open.

    Raises ``UsageError`` for options that make no sense, alone or together, and ``PluginError`` for unknown names.
    """
    examples, design_options = options.examples, options.design
    training, execution = options.training, options.execution
    check(options)
    check_seed(execution.seed)
    check_name(options.output.name)
    check_share(examples.flip_labels)
    opened = open_source(registry, examples, options.rows)
    own = isinstance(opened, OwnData)
    names = [opened.name] if own else task_names(str(examples.task))
    task = ",".join(names)
    source = ExampleSource(
        opened, len(names) > 1 if examples.instructions is None else examples.instructions, examples.flip_labels
    )
    metrics = tuple(make_metric(registry, metric) for metric in dict.fromkeys(examples.metrics))
    executor = make_executor(registry, execution.executor, execution.executor_set)
    model = resolve_model(examples.model)
    preset = FEW_RUNS if design_options.few_runs else PAPER
    usual = LORA_RATE if own and training.lora is not None else opened.learning_rate
    pool, test, notes = count_examples(design_options, len(names), opened)  # before torch is loaded, which takes longer
    design = _design(options, preset, pool)
    trainer, device = _trainer(options, usual, metrics)
    trainer = replace(trainer, **token_settings(options.rows, opened))
    chosen = choose_batches(
        training, design, task, examples.model, trainer, own, lambda: source.load(pool, test, execution.seed)
    )
    steps = chosen.steps
    check_warmup(training.warmup, steps)
    gradients, sketches = _gradients(options, preset, design, test, steps, metrics)
    _check(
        options,
        design,
        steps=steps,
        widest=chosen.widest,
        test=test,
        metrics=metrics,
        trainer=trainer,
        gradients=gradients,
        sketches=sketches,
        workers=workers_of(executor),
    )
    return RecordingPlan(
        options=options,
        task=task,
        source=source,
        model=model,
        metrics=metrics,
        executor=executor,
        design=design,
        test=test,
        steps=steps,
        batching=chosen.batching,
        whole_steps=chosen.whole,
        trainer=replace(trainer, derivatives=gradients.own),
        device=device,
        gradients=gradients,
        sketches=sketches,
        checkpoints=_checkpoints(options.output.checkpoints, steps, design_options.record_every),
        notes=notes,
    )


def reads_text(metrics: Sequence[Metric]) -> bool:
    """Whether any of these metrics reads generated text."""
    return any("generated" in metric.needs for metric in metrics)


def _design(options: CollectOptions, preset: Preset, pool: int) -> Design:
    """The design that the options ask for, or else the preset's."""
    design_options = options.design
    name = preset.design if design_options.design is None else design_options.design
    subset = design_options.subset_size
    if subset is None and preset.halves and name in (CONTRAST, BALANCED):
        subset = half_of(pool, design_options.reserve_pool)
    return choose_design(
        name,
        preset.runs if design_options.runs is None else design_options.runs,
        pool,
        options.execution.seed,
        subset_size=subset,
        reserve_pool=design_options.reserve_pool,
        leave_out_size=design_options.leave_out_size,
        repeats=design_options.repeats,
        by=design_options.by,
    )


def _check(
    options: CollectOptions,
    design: Design,
    steps: int,
    widest: int,
    test: int,
    metrics: Sequence[Metric],
    trainer: "TrainerSettings",
    gradients: Request,
    sketches: SketchRequest | None,
    workers: int | None,
) -> None:
    """Raise ``UsageError`` for what doesn't go together, now that it is decided."""
    design_options, training, execution = options.design, options.training, options.execution
    reference = "--gradients reference" if gradients.points else None if sketches is None else sketches.option
    check_optimiser(trainer.optimiser, execution.shard, reference)
    check_quantised(training, execution.shard)
    check_recording_size(
        design.runs,
        design_options.repeats,
        steps,
        training.batch_size,
        design_options.record_every,
        test,
        len(metrics),
        widest,
    )
    design.check()
    along = f"--gradients {options.gradients.gradients}" if options.gradients.gradients else None
    check_together(
        execution.processes,
        execution.shard,
        execution.device,
        trainer.precision,
        execution.executor,
        reads_text(metrics),
        along or (None if sketches is None else sketches.option),
        workers,
    )


def _trainer(options: CollectOptions, usual_rate: float, metrics: Sequence[Metric]) -> "tuple[TrainerSettings, str]":
    """How runs are trained and the kind of device they are trained on, with ``auto`` resolved."""
    from gptfl.training.models import choose_device
    from gptfl.training.precision import resolve_precision
    from gptfl.training.trainer import TrainerSettings

    training, generation, execution = options.training, options.generation, options.execution
    every = check_generation(
        reads_text(metrics),
        generation.decode,
        generation.generate_every,
        generation.generate_tokens,
        options.design.record_every,
    )
    rate = usual_rate if training.lr is None else training.lr
    check_one(TrainingOptions, "lr", rate)
    kind = choose_device(execution.device).type
    trainer = TrainerSettings(
        rate,
        **recipe_settings(training, rate),
        max_length=training.max_length,
        precision=resolve_precision(execution.precision, kind),
        train_layers=training.train_layers,
        record_every=options.design.record_every,
        generate_every=every,
        generate_tokens=generation.generate_tokens,
        decode=generation.decode,
        seed=execution.seed,
        lora=None if training.lora is None else parse_lora(training.lora).text,
        accumulate=execution.accumulate,
        shard=execution.shard,
    )
    return trainer, kind


def _gradients(
    options: CollectOptions, preset: Preset, design: Design, test: int, steps: int, metrics: Sequence[Metric]
) -> tuple[Request, SketchRequest | None]:
    gradient_options = options.gradients
    gradient_request = read_request(
        gradient_options.gradients, gradient_options.gradient_points, steps, [metric.info.name for metric in metrics]
    )
    check_size(gradient_request.points, design.pool, test)
    sketches = read_sketch_request(
        "--sketches" if gradient_options.sketches else preset.sketching,
        gradient_options.sketch_points,
        gradient_options.sketch_dimensions,
        gradient_options.sketch_modules,
        steps=steps,
        pool=design.pool,
        test=test,
        keep=gradient_options.keep_reference,
    )
    return gradient_request, sketches


def _checkpoints(requested: str | int | None, steps: int, every: int) -> tuple[int, ...] | None:
    if requested is None:
        return None
    from gptfl.training.checkpoints import checkpoint_steps

    return checkpoint_steps(str(requested), recorded_steps(steps, every).tolist())
