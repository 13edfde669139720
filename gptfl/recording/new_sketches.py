"""Gradient sketches of rows that a recording lacks, along the reference run that was kept beside it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, GradientSketches, Progress, SketchPoint, TaskData
from gptfl.errors import DataError
from gptfl.plugins.guards import make_metric
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.tokens import check_tokens
from gptfl.recording.trainers import TrainerMaker, check_weights, model_of, recipe_of
from gptfl.store.sketches import pack, unpack
from gptfl.store.workspace import reference_folder

if TYPE_CHECKING:
    from gptfl.training.gradient_sketches import SketchSetup
    from gptfl.training.reference_points import ReferenceAbout
    from gptfl.training.reference_run import Moment
    from gptfl.training.trainer import RecordingTrainer

LIKE = 0.98
"""The least cosine of a recorded example's sketch with that of the same gradient here."""
ANOTHER = "featurize and fit with an encoder that reads texts, such as answer-state or minilm"


def lacks_sketches(recording: OpenedRecording) -> DataError:
    """The error of a recording that no reference run of gptfl's own was sketched for."""
    what = "has no gradient sketches" if recording.dynamics.sketches is None else "was not trained by gptfl"
    return DataError(f"{recording.path} {what}, so that new rows have no gradients like its own", ANOTHER)


def kept_about(recording: OpenedRecording) -> "ReferenceAbout":
    """The reference run that is kept beside a recording.

    Raises ``DataError`` where the recording has no sketches, none is kept, or it is of another recording.
    """
    from gptfl.training.reference_points import REMEDY, is_of_recording, read_about

    dynamics, path = recording.dynamics, recording.path
    sketches = dynamics.sketches
    if sketches is None or dynamics.settings.elsewhere:
        raise lacks_sketches(recording)
    folder = reference_folder(path)
    about = read_about(folder)
    if about is None:
        raise DataError(
            f"{path} keeps no reference run, which gradients of new rows are taken along",
            f"keep one by the command that recorded it and --keep-reference (gptfl inspect {path} --command), or {ANOTHER}",
        )
    same = is_of_recording(about, dynamics) and about.seed == sketches.seed
    if not same or about.steps != tuple(sketches.steps.tolist()) or about.own_counted != sketches.own_counted:
        raise DataError(f"{folder} keeps another reference run than the sketches of {path} are of", REMEDY)
    return about


def sketch_new(
    recording: OpenedRecording,
    pool: Sequence[Example],
    test: Sequence[Example],
    model: str | None,
    progress: Progress,
) -> GradientSketches:
    """The sketches that ``collect --sketches`` would have taken of more training and test examples, rounded as its own.

    Args:
        recording: with sketches, and its reference run kept.
        pool: training examples.
        test: test examples.
        model: name or folder of the model, None for the recording's.
        progress: called with examples over all points.

    Raises ``DataError`` as ``kept_about`` does, for another model than was recorded, and where it comes to other gradients
    here.
    """
    from gptfl.training.gradient_sketches import SketchSetup
    from gptfl.training.reference_points import moment_at

    about, sketches = kept_about(recording), recording.dynamics.sketches
    assert sketches is not None  # as kept_about says
    trainer = _trainer(recording, tuple(pool), tuple(test), model, progress)
    setup = SketchSetup.of(trainer, sketches.dimensions, sketches.modules)
    points, done, total = [], 0, len(about.steps) * (len(pool) + len(test))

    def on_examples(examples: int) -> None:
        nonlocal done
        done = min(done + examples, total)
        progress("sketches", done, total, f"new examples at {len(about.steps)} points")

    try:
        for place in range(len(about.steps)):
            moment = moment_at(reference_folder(recording.path), about, place, trainer)
            made = _sketched(setup, sketches.seed, moment, on_examples)
            _check_same(made["train"][0], sketches.point(place).train[:1][0], recording)
            by = about.clipped[place] * _by_tokens(trainer, about)
            points.append(_point(moment.step, made, by, len(pool), len(test)))
    finally:
        trainer.network.restore()
    return replace(sketches, points=tuple(points), products=None, seconds=None)


def _trainer(
    recording: OpenedRecording,
    pool: tuple[Example, ...],
    test: tuple[Example, ...],
    model: str | None,
    progress: Progress,
) -> "RecordingTrainer":
    """Of one recorded example and the new ones: what the first comes to is known."""
    dynamics = recording.dynamics
    known = with_texts(recording, None)
    recipe = replace(recipe_of(dynamics), derivatives=False, processes=1, shard=False)
    # With answers to choose from, prompts are cut to fit the longest of them.
    made = [make_metric(recording.registry, name) for name in dynamics.metrics]
    metrics = (make_metric(recording.registry, "loss"), *(one for one in made if one.needs == {"choices"}))
    data = TaskData(dynamics.settings.task, (known[0][0], *pool), test or known[1][:1])
    name = model_of(recording, model)
    trainer = TrainerMaker(name, "auto", data, metrics, recipe, progress)()
    check_weights(recording, trainer.network.loaded.weights_hash, name)
    choices = trainer.evaluator.choices
    check_tokens(dynamics.settings, trainer.tokenizer, known[0][:1], known[1][:1], choices, str(recording.path))
    return trainer


def _sketched(
    setup: "SketchSetup", seed: int, moment: "Moment", on_examples: Callable[[int], None]
) -> dict[str, Float[np.ndarray, "example d"]]:
    """The sketches at one point, by name, the first training example being the recorded one."""
    from gptfl.training.gradient_sketches import finite
    from gptfl.training.gradients.projection import sketch_each
    from gptfl.training.kept_sketches import ARRAYS

    found = {}
    for side, requests, names in zip((setup.pool, setup.test), setup.requests(seed), ARRAYS, strict=True):
        # Wide ones are for products, which are of the recorded examples.
        (kept,) = sketch_each(setup.tape, side, requests[:1], moment.denominator, setup.memory, on_examples)
        examples = [Example(f"row {place}", "", "") for place in range(len(side))]
        for name, values in zip(names, kept, strict=False):
            found[name] = finite(values, "new", examples, moment.step)
    return found


def _by_tokens(trainer: "RecordingTrainer", about: "ReferenceAbout") -> Float[np.ndarray, " example"]:
    """By what each training example counts in a step for its tokens."""
    tokens = np.array([len(row.tokens) for row in trainer.rows], dtype=np.float64)
    return np.ones(len(tokens)) if about.tokens is None else tokens / about.tokens


def _point(
    step: int, made: dict[str, np.ndarray], by: Float[np.ndarray, " example"], pool: int, test: int
) -> SketchPoint:
    """The new examples' sketches, the pool's multiplied by what they count, and rounded as a recording has them."""
    parts: dict[str, np.ndarray] = {}
    for name, values in made.items():
        of_test = name in ("test", "split_test")
        own = values[:test] if of_test else values[1 : 1 + pool] * by[1:, None].astype(np.float32)
        parts[name] = unpack(*pack(own))
    return SketchPoint(step, **{"preconditioned": None, **parts})  # type: ignore[arg-type]


def _check_same(got: Float[np.ndarray, " d"], recorded: Float[np.ndarray, " d"], recording: OpenedRecording) -> None:
    length = float(np.linalg.norm(got) * np.linalg.norm(recorded))
    if length > 0.0 and float(got @ recorded) < LIKE * length:
        raise DataError(
            f"the kept reference run of {recording.path} comes to other gradients here",
            "ask on the kind of machine that it was recorded on, or keep it again with --keep-reference, once "
            f"{recording.path.name}.reference is deleted",
        )
