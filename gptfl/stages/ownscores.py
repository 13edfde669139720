"""The metric of each pool example before any training: measured once with the recording's model, then kept."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.errors import DataError, GptflWarning, ResourceError, UsageError
from gptfl.records import Dynamics, MetricInfo, Progress
from gptfl.records.texts import json_text, parse_json
from gptfl.stages.measuring import measure_first
from gptfl.stages.sources import Recording
from gptfl.stages.texts import with_texts
from gptfl.store.whole import written_whole

MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class OwnScores:
    """One metric of each pool example before any training."""

    metric: str
    values: Float[np.ndarray, " pool"]


def own_scores(
    recording: Recording, metric: MetricInfo, model: str | None, data: str | Path | None, progress: Progress
) -> OwnScores | None:
    """What was measured before, else what ``model`` says now; None where neither is to be had.

    ``data`` is where the texts are, if the recording keeps none. Raises ``DataError`` where the model's weights are
    not those that the recording started from, the texts can't be had, or the file of an earlier measurement is
    damaged, and ``UsageError`` for ``data`` that nothing asks for.
    """
    if data is not None and model is None:
        raise UsageError(f"--data {data} gives the texts to measure, but no model does", "add --model, or leave it out")
    path = recording.workspace.root / f"{recording.stem}.{metric.name}.first-scores.json"
    kept = _read(path, recording.dynamics, metric.name)
    if kept is not None or model is None:
        return kept
    pool, _ = with_texts(recording.dynamics, data, recording.path)
    if recording.dynamics.settings.get("weights") is None:
        raise DataError(
            f"--model {model}: {recording.path} doesn't say which weights it was made with", "leave out --model"
        )
    values = measure_first(model, pool, recording.dynamics, metric, progress)
    rows = {example.id: float(value) for example, value in zip(recording.dynamics.pool, values, strict=True)}
    told = {"recording": recording.dynamics.examples, "metric": metric.name, "model": model, "values": rows}
    try:
        with written_whole(path) as aside:
            aside.write_text(json_text(told, indent=2) + "\n", encoding="utf-8")
    except ResourceError as error:  # what was asked for is there all the same
        warnings.warn(f"first scores are measured anew the next time: {error}", GptflWarning, stacklevel=2)
    return OwnScores(metric.name, values)


def _read(path: Path, dynamics: Dynamics, metric: str) -> OwnScores | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB", "delete it")
        told = parse_json(path.read_text(encoding="utf-8"), lenient=True)
        if told["recording"] != dynamics.examples or told["metric"] != metric:
            return None
        values = np.array([float(told["values"][example.id]) for example in dynamics.pool])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__})", "delete it and measure again") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path} is damaged (a value is not finite)", "delete it and measure again")
    return OwnScores(metric, values)
