"""How the runs of a recording become batches where lengths in tokens matter, and what its examples keep of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.core import Example, TaskData
from gptfl.core.curriculum import count_steps
from gptfl.core.packing import PACKINGS, Batching
from gptfl.core.recording_settings import PER_TOKEN
from gptfl.errors import UsageError
from gptfl.options.recording import TrainingOptions
from gptfl.recording.design import POOL, Design, choose_epochs_of, choose_steps
from gptfl.recording.group_design import with_clusters

if TYPE_CHECKING:
    from gptfl.training.trainer import RecordingTrainer, TrainerSettings

MEASURED = 64
"""Of so many runs it is counted how many rows their examples make."""
WIDTHS_OF, WIDTHS_ALONG = 4, 1000
"""Of so many runs, and along so many of their steps, it is counted how many examples a step of packed rows has."""


@dataclass(frozen=True, slots=True)
class ChosenBatches:
    """How the runs of a recording become batches, and how many steps they have.

    ``whole`` are the steps that the asked epochs of the whole pool would take, None where no epochs were asked for.
    ``widest`` is how many examples the largest step has.
    """

    batching: Batching
    steps: int
    whole: int | None
    widest: int


def batching_of(training: TrainingOptions) -> Batching:
    """What the options say of batches; lengths aren't known yet. Raises ``UsageError`` for what makes no sense."""
    if training.packing is not None and training.packing not in PACKINGS:
        cut = training.packing in ("wrapped", "bfd_split")
        why = "cuts examples in two, so that what one of them does can't be told" if cut else "is unknown"
        raise UsageError(f"{training.packing!r} {why}", f"use {' or '.join(PACKINGS)}", option="packing")
    if training.packing is not None and training.group_by_length:
        raise UsageError(
            f"--group-by-length with --packing {training.packing}: packed rows are of about one length",
            "leave one of them out",
        )
    return Batching(training.batch_size, training.packing, training.group_by_length, training.max_length)


def with_lengths(batching: Batching, model: str, recipe: "TrainerSettings", data: TaskData) -> Batching:
    """The same, now that it is known how many tokens each example has.

    Args:
        batching: how batches are made; one that doesn't go by length stays as it is.
        model: name or folder of the model whose tokenizer reads the texts.
        recipe: its ``max_length``, ``end_token`` and ``chat_template`` decide how many tokens a text becomes.
        data: the examples, of which the pool is read.

    Raises as the model's tokenizer does.
    """
    if batching.plain:
        return batching
    from gptfl.training.load import load_tokenizer
    from gptfl.training.tokenization import Tokenizer, training_rows

    made, longest = load_tokenizer(model)
    more: dict[str, Any] = {"end_token": recipe.end_token, "template": recipe.chat_template, "name": f"--model {model}"}
    tokenizer = Tokenizer(made, recipe.max_length, longest, **more)
    tokenizer.read(data.pool, "pool")
    lengths = np.array([len(row.input_ids) + 1 for row in training_rows(tokenizer, data.pool)])
    return replace(batching, width=tokenizer.max_length, lengths=lengths)


def choose_batches(
    training: TrainingOptions,
    design: Design,
    task: str,
    model: str,
    recipe: "TrainerSettings",
    own: bool,
    load: Callable[[], TaskData],
) -> ChosenBatches:
    """How runs become batches, and how many steps they have.

    Args:
        training: the options of the training.
        design: the design of the runs.
        task: the name of the task, for messages.
        model: the name of the model, whose tokenizer tells lengths.
        recipe: how runs are trained.
        own: whether these are data of one's own, for which a recipe is one for all of them.
        load: loads the examples, where their lengths matter.

    Raises ``UsageError`` for what makes no sense.
    """
    batching, data = batching_of(training), None
    if not batching.plain:
        data = load()
        batching = with_lengths(batching, model, recipe, data)
    epochs_of = choose_epochs_of(training.epochs_of, training.epochs, own)
    subset, pool = rows_of(design, training, batching, data, task)
    rows = pool if training.epochs is not None and epochs_of == POOL else subset
    steps = choose_steps(design, training.steps, training.epochs, training.batch_size, rows)
    whole = None if training.epochs is None else count_steps(pool, training.batch_size, training.epochs)
    return ChosenBatches(batching, steps, whole, widest_of(design, batching, data, task, steps))


def widest_of(design: Design, batching: Batching, data: TaskData | None, task: str, steps: int) -> int:
    """How many examples the largest step has; where rows are packed, as the beginnings of the first runs have it.

    Args:
        design: the examples of each run.
        batching: how they become batches.
        data: the examples, needed where they are packed.
        task: the name of the task, by which the design may group examples.
        steps: of a run.
    """
    if batching.packing is None or data is None:
        return batching.size
    pool = with_clusters(design.reserved(data.pool), design.by, design.seed)
    few = replace(design, runs=min(design.runs, WIDTHS_OF), repeats=0)
    along = min(steps, WIDTHS_ALONG)
    return max(int(draw.batches(batching, along).shape[1]) for draw in few.draws(pool, task))


def rows_of(
    design: Design, training: TrainingOptions, batching: Batching, data: TaskData | None, task: str
) -> tuple[int, int]:
    """How many rows a subset and the whole pool have; of packed subsets, which differ in it, the mean.

    Args:
        design: the examples of each run; a few of its runs are drawn for the mean.
        training: where it says ``steps``, rows decide nothing and aren't counted.
        batching: how examples are packed into rows; unpacked, each example is one.
        data: the examples, None where they aren't loaded; an example then counts as a row.
        task: the name of the task, by which the design may group examples.
    """
    if batching.packing is None or training.steps is not None or data is None:
        return design.subset, design.pool
    pool = with_clusters(design.reserved(data.pool), design.by, design.seed)
    few = replace(design, runs=min(design.runs, MEASURED), repeats=0)
    counts = [len(batching.rows(draw.members)) for draw in few.draws(pool, task)]
    return int(np.ceil(np.mean(counts))), len(batching.rows(np.arange(len(pool))))


def weighed(pool: Sequence[Example], trainer: "RecordingTrainer") -> tuple[Example, ...]:
    """The examples with what later questions have to know of their tokens, by the recipe that they are trained by."""
    recipe = trainer.recipe
    sized, counted = recipe.packing is not None or recipe.group_by_length, recipe.loss_mean == PER_TOKEN
    if not (sized or counted):
        return tuple(pool)
    return tuple(
        replace(example, length=len(row.input_ids) + 1 if sized else None, weight=len(row.tokens) if counted else None)
        for example, row in zip(pool, trainer.rows, strict=True)
    )
