"""The trainer of a recording: made from its settings, its model and its examples, and held against its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Example, MetricInfo, Progress, Run, TaskData, silent
from gptfl.core.packing import PACKINGS
from gptfl.core.recording_settings import DECAYS, DECODINGS, MEANS, OPTIMISERS, QUANTISED
from gptfl.core.schedules import SCHEDULES
from gptfl.errors import DataError, UsageError
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Metric, Plan
from gptfl.plugins.work import Outcome, Unit, Work
from gptfl.recording.recording import OpenedRecording
from gptfl.recording.run_units import describe, run_of, unit_of
from gptfl.recording.tokens import check_tokens
from gptfl.store.jsonlines import shown

if TYPE_CHECKING:
    from gptfl.training.checkpoints import CheckpointWriter
    from gptfl.training.distributed import ProcessGroup
    from gptfl.training.trainer import RecordingTrainer, TrainerSettings


def measure_first(
    model: str, examples: Sequence[Example], recording: OpenedRecording, metric: MetricInfo, progress: Progress
) -> Float[np.ndarray, " example"]:
    """What the untrained model scores on these test examples, measured as the recording's were.

    Args:
        model: name or folder of the model that the recording began with.
        examples: new test examples, with texts.
        recording: whose settings say how to measure.
        metric: that is measured.
        progress: called along the way.

    Raises ``DataError`` where ``model`` isn't the one recorded, weight by weight, where the recording doesn't say
    how it was made, or where the metric can't be measured of an example.
    """
    dynamics = recording.dynamics
    settings = dynamics.settings
    recorded = settings.weights
    if recorded is None:
        raise DataError(
            f"--model {model}: the recording doesn't say which weights it was made with",
            "give each line of --new-test the field 'first'",
        )
    own = make_metric(recording.registry, metric.name)
    own.check(examples)
    from gptfl.training.load import load_model
    from gptfl.training.trainer import RecordingTrainer

    # Neither several processes nor derivatives change what the model scores before any training.
    recipe = replace(recipe_of(dynamics), processes=1, shard=False, derivatives=False)
    loaded = load_model(model, device="auto", progress=progress)
    if loaded.weights_hash != recorded:
        raise DataError(
            f"--model {model} has other weights ({loaded.weights_hash}) than the recording was made with ({recorded})",
            f"give the model that was recorded, {settings.model or 'by its name'}",
        )
    tests = tuple(examples)
    trainer = RecordingTrainer(loaded, tests, tests, (own,), recipe)
    check_tokens(settings, trainer.tokenizer, dynamics.pool, dynamics.test, trainer.evaluator.choices)
    return trainer.evaluator.measure()[metric.name].astype(np.float64)


def _alone() -> "ProcessGroup":
    from gptfl.training.distributed import ALONE

    return ALONE


@dataclass
class TrainerMaker:
    """All it takes to make a trainer, in this process or another; makes it once a process."""

    model: str
    device: str
    data: TaskData
    metrics: tuple[Metric, ...]
    recipe: "TrainerSettings"
    progress: Progress = silent
    group: "ProcessGroup" = field(default_factory=_alone)
    """The processes that record together; this one by itself unless given."""
    checkpoint_writer: "CheckpointWriter | None" = None
    _made: "RecordingTrainer | None" = field(default=None, repr=False)

    def __call__(self) -> "RecordingTrainer":
        """The trainer of this process."""
        if self._made is None:
            from gptfl.training.load import load_model
            from gptfl.training.trainer import RecordingTrainer

            group = self.group
            if not group.main:
                group.wait()  # what has to be fetched or built is so once
            # A model that fits on no device is spread over them from the memory of the machine.
            device = "cpu" if group.shard else self.device if group.size == 1 else str(group.device)
            loaded = load_model(self.model, device=device, progress=self.progress)
            if group.main:
                group.wait()
            self.progress("set up", 0, 1, "tokenizing and laying out the examples")
            data = self.data
            self._made = RecordingTrainer(
                loaded, data.pool, data.test, self.metrics, self.recipe, group, self.checkpoint_writer, data.files
            )
            self.progress("set up", 1, 1)
        return self._made

    def work(self) -> Work:
        """All it takes to make this trainer in another process, in plain values."""
        weights = None if self._made is None else self._made.network.loaded.weights_hash
        return describe(self.model, self.device, self.data, self.metrics, self.recipe, self.checkpoint_writer, weights)

    def unit(self, plan: Plan) -> Unit:
        """A plan as a unit of that work."""
        return unit_of(plan)

    def run(self, outcome: Outcome) -> Run:
        """The run that a unit came to. Raises what it failed of, as the trainer's own ``run`` does."""
        return run_of(outcome)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the made trainer and the callback behind when sent to another process."""
        return {**self.__dict__, "_made": None, "progress": silent}


OPTIONAL = (
    *(
        "train_layers",
        "generate_tokens",
        "generate_every",
        "lora",
        "end_token",
        "chat_template",
        "clip_norm",
        "momentum",
        "packing",
        "quantize",
    ),
)
"""Settings of a recipe that may be null."""


def model_of(recording: OpenedRecording, given: str | None) -> str:
    """The model to train: the one given, else the recording's own.

    Raises ``DataError`` where that isn't known, or was never named on this machine: the file may be anyone's.
    """
    if given is not None:
        return given
    from gptfl.training.named import model_in_file

    settings = recording.dynamics.settings
    return model_in_file(settings.model or None, settings.source, str(recording.path), "--model ")


def check_weights(recording: OpenedRecording, found: str, model: str) -> None:
    """Raise ``DataError`` where a model is not the one that the recording started from."""
    known = recording.dynamics.settings.weights
    if known is not None and found != known:
        raise DataError(
            f"--model {model} has other weights than {recording.path} was recorded from",
            f"name the recording's own model ({recording.dynamics.settings.model})",
        )


def recipe_of(dynamics: Dynamics) -> "TrainerSettings":
    """How the recorded runs were trained, from the recording's settings.

    Raises ``DataError`` where the recording doesn't say, as imported ones don't.
    """
    from gptfl.training.trainer import TrainerSettings

    settings = dynamics.settings
    if settings.learning_rate is None:
        raise DataError("the recording doesn't say how its runs were trained", "use one that gptfl collect made")
    known: dict[str, Any] = {}
    for one in fields(TrainerSettings):
        if one.name in settings:
            value = settings[one.name]
            known[one.name] = tuple(value) if isinstance(value, list) else value
    recipe = TrainerSettings(**{name: value for name, value in known.items() if value is not None or name in OPTIONAL})
    _check_words(recipe)
    return recipe


def _check_words(recipe: "TrainerSettings") -> None:
    """Raise ``DataError`` for a word of a recipe that gptfl doesn't know: a recording may hold any."""
    from gptfl.training.lora import parse_lora
    from gptfl.training.precision import PRECISIONS

    for name, value, known in (
        ("schedule", recipe.schedule, tuple(SCHEDULES)),
        ("precision", recipe.precision, PRECISIONS),
        ("decode", recipe.decode, DECODINGS),
        ("optimiser", recipe.optimiser, OPTIMISERS),
        ("decay", recipe.decay, DECAYS),
        ("loss_mean", recipe.loss_mean, MEANS),
        ("packing", recipe.packing, (None, *PACKINGS)),
        ("quantize", recipe.quantize, (None, *QUANTISED)),
    ):
        if value not in known:
            words = ", ".join(filter(None, known))
            raise DataError(f"the recording has the setting {name} = {shown(value)}", f"known: {words}")
    if recipe.lora is not None:
        try:
            parse_lora(recipe.lora)
        except UsageError as error:
            raise DataError(f"the recording has the setting lora = {shown(recipe.lora)}", error.problem) from error


def is_newer(model: str, recording: Path) -> bool:
    """Whether weights in a model's folder were written after the recording."""
    from gptfl.training.names import resolve_model

    source = resolve_model(model)
    if source.kind != "folder":
        return False
    try:
        made = recording.stat().st_mtime_ns
        return any(path.stat().st_mtime_ns > made for path in Path(source.location).glob("*.safetensors"))
    except OSError:
        return False
