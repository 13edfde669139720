"""The metric of each pool example before any training: measured once with the recording's model, then kept."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gptfl.errors import DataError
from gptfl.records import Dynamics, Example, Progress, TaskData
from gptfl.registry import get_registry
from gptfl.report.files import written_whole
from gptfl.stages.guarding import make_metric
from gptfl.stages.recording import TrainerMaker
from gptfl.stages.sources import Recording
from gptfl.stages.texts import with_texts

if TYPE_CHECKING:
    from gptfl.training.trainer import Recipe

MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class OwnScores:
    """One metric of each pool example before any training."""

    metric: str
    values: Float[np.ndarray, " pool"]


def own_scores(
    recording: Recording, metric: str, model: str | None, data: str | Path | None, device: str, progress: Progress
) -> OwnScores | None:
    """What was measured before, else what ``model`` says now; None where neither is to be had.

    ``data`` is where the texts are, if the recording keeps none. Raises ``DataError`` where the model's weights are
    not those that the recording started from, the texts can't be had, or the file of an earlier measurement is
    damaged.
    """
    path = recording.workspace.root / f"{recording.stem}.{metric}.first-scores.json"
    kept = _read(path, recording.dynamics, metric)
    if kept is not None or model is None:
        return kept
    pool, _ = with_texts(recording.dynamics, data, recording.path)
    values = _measure(recording, pool, metric, model, device, progress)
    rows = {example.id: float(value) for example, value in zip(recording.dynamics.pool, values, strict=True)}
    told = {"recording": recording.dynamics.examples, "metric": metric, "model": model, "values": rows}
    with written_whole(path) as aside:
        aside.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return OwnScores(metric, values)


def _measure(
    recording: Recording, pool: tuple[Example, ...], metric: str, model: str, device: str, progress: Progress
) -> Float[np.ndarray, " pool"]:
    measured = make_metric(get_registry(), metric)
    measured.check(pool)
    recipe = replace(recipe_of(recording.dynamics), train_layers=None)
    data = TaskData(str(recording.dynamics.settings.get("task", "")), pool, pool)
    trainer = TrainerMaker(model, device, data, (measured,), recipe, progress)()
    check_weights(recording, trainer.network.loaded.weights_hash, model)
    progress("measure", 0, 1, f"first {metric} of {len(pool)} pool examples")
    values = trainer.evaluator.measure()[metric]
    progress("measure", 1, 1)
    return np.asarray(values, dtype=np.float64)


def check_weights(recording: Recording, found: str, model: str) -> None:
    """Raise ``DataError`` where a model is not the one that the recording started from."""
    known = recording.dynamics.settings.get("weights")
    if known is not None and found != known:
        raise DataError(
            f"--model {model} has other weights than {recording.path} was recorded from",
            f"name the recording's own model ({recording.dynamics.settings.get('model')})",
        )


def recipe_of(dynamics: Dynamics) -> "Recipe":
    """How the recorded runs were trained, from the recording's settings.

    Raises ``DataError`` where the recording doesn't say, as imported ones don't.
    """
    from gptfl.training.trainer import Recipe

    settings = dynamics.settings
    if "learning_rate" not in settings:
        raise DataError("the recording doesn't say how its runs were trained", "use one that gptfl collect made")
    known: dict[str, Any] = {}
    for field in fields(Recipe):
        if field.name in settings:
            value = settings[field.name]
            known[field.name] = tuple(value) if isinstance(value, list) else value
    return Recipe(**known)


def _read(path: Path, dynamics: Dynamics, metric: str) -> OwnScores | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB", "delete it")
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["recording"] != dynamics.examples or told["metric"] != metric:
            return None
        values = np.array([float(told["values"][example.id]) for example in dynamics.pool])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__})", "delete it and measure again") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path} is damaged (a value is not finite)", "delete it and measure again")
    return OwnScores(metric, values)
