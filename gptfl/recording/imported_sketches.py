"""Gradient sketches of an imported recording, along a reference run of the model and the recipe that are said to be its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Progress, TaskData, user_path
from gptfl.core.packing import Batching
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.options.recipe import read_recipe
from gptfl.plugins.guards import make_metric
from gptfl.recording.batching import with_lengths
from gptfl.recording.recipe import check_optimiser, recipe_in_file
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.reference_run import ReferenceJob
from gptfl.recording.sketch_request import read_sketch_request
from gptfl.recording.source import template_of
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.feature_blocks import FeatureBlocks
from gptfl.store.recordings import append_sketches, read_dynamics

OPTION = "--recipe"
TAKEN = "nothing in an imported recording says its model and recipe: the sketches are of those of --model and --recipe"


@dataclass(frozen=True, slots=True)
class SketchingSource:
    """What an imported recording was trained by, as somebody says; ``data`` are the texts that it lacks.

    ``points``, ``dimensions`` and ``modules`` are of the sketches, as of ``gptfl collect``; None for the usual ones.
    ``chat_template`` is the file of that which conversations were trained with; None for the tokenizer's.
    """

    model: str | None
    recipe: str | Path | None
    data: str | Path | None = None
    device: str = "auto"
    seed: int = 42
    points: int | None = None
    dimensions: int | None = None
    modules: str | None = None
    chat_template: str | Path | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that ask for sketches or say what they are of, as given."""
        options = {
            "--model": self.model,
            "--recipe": self.recipe,
            "--chat-template": self.chat_template,
            "--sketch-points": self.points,
            "--sketch-dimensions": self.dimensions,
            "--sketch-modules": self.modules,
        }
        return tuple(f"{flag} {value}" for flag, value in options.items() if value is not None)

    def check(self, recording: OpenedRecording) -> None:
        """Raise unless sketches can be made of the recording by this.

        ``UsageError`` for a recording that needs neither model nor recipe, ``DataError`` for one that needs both.
        """
        settings, path = recording.dynamics.settings, recording.path
        if self.given and not settings.imported:
            raise UsageError(f"{self.given[0]} is of imported recordings, and {path} is none", "leave it out")
        if self.given and recording.dynamics.sketches is not None:
            raise UsageError(
                f"{self.given[0]}: {path} has gradient sketches already",
                f"leave {_listed(self.given)} out, or gptfl import it again to sketch it anew",
            )
        needs = settings.imported and recording.dynamics.sketches is None
        if needs and None in (self.model, self.recipe):
            raise DataError(
                f"{path} was imported without gradient sketches: gptfl knows no model and no recipe to take them by",
                "give both to gptfl featurize (--model, --recipe), or use another --encoder (what gptfl import --sketches "
                "takes are features already, and need no featurize)",
            )


def sketched(
    recording: OpenedRecording, source: SketchingSource, progress: Progress
) -> tuple[Dynamics, tuple[str, ...], FeatureBlocks]:
    """The recording with sketches, which are put into its file where that can be written, what to say of them, and the
    blocks that they lie in until these are removed.

    They are those that ``gptfl collect --sketches`` takes of the same pool by the same recipe and seed.

    Args:
        recording: imported, with texts.
        source: says how its runs were trained.
        progress: called along the way.

    Raises ``DataError`` where the recipe isn't that of the recorded batches and step sizes, texts are missing, or the
    model's gradients can't be told by example; ``UsageError`` for a recipe that gptfl can't follow.
    """
    assert source.model is not None  # checked by ``check``
    assert source.recipe is not None
    dynamics, file = recording.dynamics, user_path(source.recipe)
    recipe = replace(recipe_in_file(file, dynamics, source.device, source.seed), processes=1, shard=False)
    check_optimiser(recipe.optimiser, False, f"{OPTION} {file}")
    steps = dynamics.settings.steps
    _check_batches(dynamics, file)
    _check_rates(dynamics, recipe.rates(steps), file)
    pool, test = with_texts(recording, source.data)
    chat = any(example.turns for example in (*pool, *test))
    recipe = replace(recipe, chat_template=template_of(source.chat_template, chat))
    data = TaskData(dynamics.settings.task, pool, test)
    batching = Batching(dynamics.settings.batch_size, recipe.packing, recipe.group_by_length, recipe.max_length)
    batching = with_lengths(batching, source.model, recipe, data)
    asked = source.points, source.dimensions, source.modules
    request = read_sketch_request(OPTION, *asked, steps=steps, pool=len(pool), test=len(test))
    job = ReferenceJob(recording.path, len(pool), batching, steps, source.seed, 0, request)
    metric = make_metric(recording.registry, "loss")
    maker = TrainerMaker(source.model, source.device, data, (metric,), recipe, progress)
    found, sketching = job.sketched(maker(), progress)
    try:
        append_sketches(recording.path, found)
    except ResourceError as error:
        alone = f"{TAKEN}; the features alone keep them, for {error.problem}"
        return replace(dynamics, sketches=found), (alone, *sketching.notes), sketching.kept
    sketching.kept.remove()
    # As rounded there, so that the features are the same once more.
    return read_dynamics(recording.path), (TAKEN, *sketching.notes), sketching.kept


def _listed(given: Sequence[str]) -> str:
    """The options of what was given, without their values."""
    flags = [one.split()[0] for one in given]
    return " and ".join(filter(None, (", ".join(flags[:-1]), flags[-1])))


def _check_batches(dynamics: Dynamics, file: Path) -> None:
    """Raise ``DataError`` where a recipe says another size of batches than was recorded."""
    asked, recorded = read_recipe(file).options.get("batch_size"), dynamics.settings.batch_size
    if asked is not None and asked != recorded:
        raise DataError(
            f"--recipe {file} has batches of {asked} examples, and those of the recording have {recorded}",
            "give the recipe that it was trained by",
        )


def _check_rates(dynamics: Dynamics, rates: Float[np.ndarray, " step"], file: Path) -> None:
    """Raise ``DataError`` where no run was trained at a recipe's step sizes."""
    for run in dynamics.runs:
        found = run.curriculum.learning_rates
        if len(found) == len(rates) and np.allclose(found, rates, rtol=1e-6):
            return
    raise DataError(
        f"the learning rates of the runs are not those of --recipe {file}", "give the recipe that they were trained by"
    )
