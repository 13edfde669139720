"""From a finished fine-tuning's checkpoints to a recording of one run, with gradient sketches."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import (
    FIT,
    Curriculum,
    Dynamics,
    GradientSketches,
    Progress,
    Run,
    TaskData,
    TokenSketches,
    user_path,
)
from gptfl.core.recording_settings import MEANS, OWN_RUN, PER_TOKEN, RecordingSettings
from gptfl.errors import DataError, UsageError
from gptfl.options.attribute import AttributeOptions
from gptfl.plugins.guards import make_metric
from gptfl.plugins.registry import Registry
from gptfl.recorder.checkpoint_folder import CheckpointFolders, read_order, spread_steps
from gptfl.recording.reference_run import SKETCHES, advised, counting
from gptfl.recording.sketch_request import SketchRequest
from gptfl.recording.source import request, token_settings
from gptfl.store.recordings import append_sketches, read_dynamics, write_dynamics
from gptfl.store.safety import MAX_BYTES
from gptfl.store.workspace import Workspace, safe_name
from gptfl.tasks.own_data import OwnData

if TYPE_CHECKING:
    from gptfl.training.trainer import RecordingTrainer

MADE_BY = "gptfl attribute"
LOSS = "loss"
MOST_SHARES = 5 * 10**7
"""So many entries may the batches of a run have that trains on a little of everything at each step."""


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training as far as its files tell of it."""

    options: AttributeOptions
    found: CheckpointFolders
    examples: TaskData
    rates: Float[np.ndarray, " step"]
    batches: Int[np.ndarray, "step batch"]
    tokens: dict[str, Any]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, options: AttributeOptions) -> "FinishedTraining":
        """What is known before any model is loaded.

        Raises ``UsageError`` and ``DataError`` for options and files that make no sense together.
        """
        if options.loss_mean not in MEANS:
            raise UsageError(f"{options.loss_mean!r} is unknown", f"use {' or '.join(MEANS)}", option="loss_mean")
        found = CheckpointFolders.of(user_path(options.checkpoints))
        source = OwnData(request(None if options.data is None else user_path(options.data), options.rows))
        if source.rows.split_off and options.rows.eval_share is None:
            raise UsageError(
                "no rows to test on are named, and all others were trained on",
                "give --eval FILE, or --eval-split of a data set",
            )
        examples = source.load(None, options.test, options.seed)
        rates, where = found.rates(options.lr)
        notes = (*examples.notes, f"step sizes are {where}")
        steps, pool = len(rates), len(examples.pool)
        if options.order is not None:
            places = {one.id: place for place, one in enumerate(examples.pool)}
            batches = read_order(user_path(options.order), steps, places)
        else:
            if steps * pool > MOST_SHARES:
                raise DataError(
                    f"{steps:,} steps of {pool:,} examples each are too many to keep",
                    "give --order FILE, or fewer rows",
                )
            batches = np.tile(np.arange(pool), (steps, 1))
            notes += (
                "which examples each step was trained on isn't known: every one counts a little in each "
                "(--order FILE tells)",
            )
        made = cls(options, found, examples, rates, batches, token_settings(options.rows, source), notes)
        if made.sketched.bytes(pool, len(examples.test)) > MAX_BYTES:
            raise UsageError(
                f"gradient sketches of {pool:,} training and {len(examples.test):,} test examples take "
                f"more than the {MAX_BYTES / 2**30:g} GiB that gptfl reads",
                "lower --sketch-points or --sketch-dimensions",
            )
        return made

    @property
    def points(self) -> tuple[int, ...]:
        """The steps whose gradients are sketched; of adapters none before the first step, for they were drawn anew."""
        steps = self.found.steps if self.found.adapter is not None else (0, *self.found.steps)
        return spread_steps(steps, self.options.sketch_points)

    @property
    def sketched(self) -> SketchRequest:
        """What of sketches is asked for."""
        options = self.options
        return SketchRequest(len(self.points), options.sketch_dimensions, options.sketch_modules)

    @property
    def name(self) -> str:
        """What the recording's files are called."""
        given = self.options.name
        if given is not None and given != safe_name(given):
            raise UsageError(f"the name {given!r} can't begin the names of files", f"take {safe_name(given)!r}")
        return given or safe_name(f"attribute-{Path(self.options.model).name}")


def record_training(
    training: FinishedTraining, registry: Registry, progress: Progress, test: int | None = None
) -> tuple[Path, tuple[str, ...], TokenSketches | None]:
    """Measure every checkpoint, sketch gradients there, and write the recording: where, and what to tell.

    Args:
        training: as far as its files tell of it.
        registry: where the metric is found by name.
        progress: called along the way.
        test: place of a test example, the gradients of whose single tokens are sketched, too, and given back.

    Raises ``DataError`` where checkpoints and model don't fit, gradients can't be told apart, or another recording is
    in the way.
    """
    space = Workspace.resolve(training.options.workspace)
    path = space.dynamics_path(training.name)
    _check_place(path)
    dynamics, sketches, notes, counted_sketches = _measured(training, registry, progress, test)
    with space.lock(MADE_BY):
        _check_place(path)
        path.unlink(missing_ok=True)
        write_dynamics(path, dynamics)
        append_sketches(path, sketches)
    return path, (*training.notes, *notes), counted_sketches


def _check_place(path: Path) -> None:
    """Raise ``DataError`` where a recording that wasn't made like this is in the way."""
    if path.exists() and read_dynamics(path).settings.get("made_by") != MADE_BY:
        raise DataError(f"{path} is a recording of another kind", "give another --name")


def _measured(
    training: FinishedTraining, registry: Registry, progress: Progress, test: int | None
) -> tuple[Dynamics, GradientSketches, tuple[str, ...], TokenSketches | None]:
    """The recording and its sketches, what to tell, and the sketches of a test example's tokens."""
    from gptfl.recorder.checkpoint_weights import denominator_of_file, weights_of
    from gptfl.training.gradient_sketches import Sketching, SketchSetup
    from gptfl.training.gradients.denominators import batch_share, counts_own
    from gptfl.training.reference_run import Moment, step_scales
    from gptfl.training.token_gradients import sketch_tokens, token_texts

    options, found, examples = training.options, training.found, training.examples
    trainer, notes = _trainer(training, registry, progress)
    network = trainer.network
    with advised(trainer, SKETCHES["--sketches"]):
        setup = SketchSetup.of(trainer, options.sketch_dimensions, options.sketch_modules)
    on_examples = counting(progress, "sketches", "examples", len(training.points), len(setup.pool) + len(setup.test))
    sketching = Sketching(examples.pool, trainer.evaluator.test, options.seed, setup, on_examples)
    own = counts_own(len(training.rates))
    share = batch_share(training.batches) if own else None
    values, parts = [], {}
    for number, step in enumerate((0, *found.steps)):
        folder, denominator = found.folders.get(step), None
        if folder is not None:
            network.load(weights_of(folder, network, found.adapter is not None))
        values.append(trainer.evaluator.measure()[LOSS])
        progress("measure", number + 1, 1 + len(found.steps), f"step {step}")
        if step not in training.points:
            continue
        if options.optimiser_state and folder is not None:
            denominator = denominator_of_file(folder, network, share)
        sketching(Moment(step, denominator, 0.0, own))
        if test is not None:
            some = sketch_tokens(setup, test, options.seed, denominator)
            parts.update({(kind, step): one for kind, one in some.items()})
    tokens = np.array([len(row.tokens) for row in trainer.rows])
    scales = step_scales(tokens, options.loss_mean == PER_TOKEN, (), sketching.steps)
    texts = () if test is None else token_texts(setup.test.rows[test], network.loaded.tokenizer)
    return (
        _dynamics(training, np.stack(values), trainer),
        sketching.sketches(training.rates, scales),
        notes,
        TokenSketches(texts, parts) if parts else None,
    )


def _trainer(
    training: FinishedTraining, registry: Registry, progress: Progress
) -> tuple["RecordingTrainer", tuple[str, ...]]:
    """A trainer of what the training trained, at the weights before it, and what to tell."""
    from gptfl.recorder.checkpoint_weights import changed_names, weights_of
    from gptfl.training.load import load_model
    from gptfl.training.trainer import RecordingTrainer, TrainerSettings

    options, found = training.options, training.found
    metric = make_metric(registry, LOSS)
    metric.check(training.examples.test)
    recipe = TrainerSettings(
        float(training.rates.max(initial=0.0)),
        max_length=options.max_length,
        lora=found.lora(),
        loss_mean=options.loss_mean,
        seed=options.seed,
        **training.tokens,
    )
    loaded = load_model(options.model, device=options.device, progress=progress)
    trainer = RecordingTrainer(loaded, training.examples.pool, training.examples.test, (metric,), recipe)
    network, notes = trainer.network, tuple(trainer.tokenizer.notes)
    if found.adapter is None:
        moved = changed_names(network, weights_of(found.folders[found.steps[-1]], network, False))
        if not moved:
            raise DataError(
                f"{found.where}: the last checkpoint is --model {options.model} itself", "name the model before"
            )
        if len(moved) < len(network.names):
            notes += (f"{len(moved)} of {len(network.names)} weights were trained; gradients are of these",)
        network.train_only(moved)
    if not options.optimiser_state:
        notes += (
            "gradients are plain, though AdamW divides them by their size: --optimiser-state reads that of checkpoints "
            "which are your own",
        )
    return trainer, notes


def _dynamics(
    training: FinishedTraining, values: Float[np.ndarray, "recorded test"], trainer: "RecordingTrainer"
) -> Dynamics:
    steps = np.array([0, *training.found.steps], dtype=np.int64)
    curriculum = Curriculum(training.batches, training.rates)
    run = Run(0, training.options.seed, FIT, curriculum, steps, {LOSS: values.astype(np.float32)})
    examples, loaded = training.examples, trainer.network.loaded
    settings = _settings(training, loaded.source.name if loaded.source.kind != "folder" else loaded.source.stem)
    metrics = {LOSS: trainer.evaluator.metrics[0].info}
    return Dynamics(
        examples.pool, examples.test, metrics, (run,), settings.having(model_fingerprint=loaded.weights_hash)
    )


def _settings(training: FinishedTraining, model: str) -> RecordingSettings:
    examples = training.examples
    return RecordingSettings.of(
        {
            "task": OWN_RUN,
            "model": model,
            "pool": len(examples.pool),
            "test": len(examples.test),
            "record_every": int(training.found.steps[0]),
            "metrics": [LOSS],
            "texts": True,
            "made_by": MADE_BY,
        }
    )
