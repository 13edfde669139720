"""The influence of each pool example on itself, and the metric of each before any training."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Features, FeatureSet, MetricInfo, Progress
from gptfl.core.holdout import TEST
from gptfl.core.texts import json_text, parse_json
from gptfl.errors import DataError, GptflWarning, ResourceError, UsageError
from gptfl.features.lookup import fitted_features
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.trainers import measure_first
from gptfl.simulation.schedule import RunSchedule
from gptfl.simulation.simulator import FittedSimulator
from gptfl.simulation.unseen import Scope
from gptfl.store.outputs import written_whole

MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class InitialMetrics:
    """One metric of each pool example before any training."""

    metric: str
    values: Float[np.ndarray, " pool"]


def measure_initial_metrics(
    recording: OpenedRecording, metric: MetricInfo, model: str | None, data: str | Path | None, progress: Progress
) -> InitialMetrics | None:
    """The pool examples' own metric before training: as measured before, else by ``model`` now; None where neither is
    there.

    Args:
        recording: whose pool is measured.
        metric: that is measured.
        model: name or folder of the model that the recording began with, None where it isn't to be loaded.
        data: where the texts are, if the recording keeps none.
        progress: called along the way.

    Raises ``DataError`` where the model's weights are not those that the recording started from, the texts can't be
    had,
    or the file of an earlier measurement is damaged, and ``UsageError`` for ``data`` without ``model``.
    """
    if data is not None and model is None:
        raise UsageError(f"--data {data} gives the texts to measure, but no model does", "add --model, or leave it out")
    path = recording.workspace.root / f"{recording.stem}.{metric.name}.first-scores.json"
    kept = _read(path, recording.dynamics, metric.name)
    if kept is not None or model is None:
        return kept
    pool, _ = with_texts(recording, data)
    if recording.dynamics.settings.weights is None:
        raise DataError(
            f"--model {model}: {recording.path} doesn't say which weights it was made with", "leave out --model"
        )
    values = measure_first(model, pool, recording, metric, progress)
    rows = {example.id: float(value) for example, value in zip(recording.dynamics.pool, values, strict=True)}
    content = {"recording": recording.dynamics.examples, "metric": metric.name, "model": model, "values": rows}
    try:
        with written_whole(path) as part:
            part.write_text(json_text(content, indent=2) + "\n", encoding="utf-8")
    except ResourceError as error:  # what was asked for is there all the same
        warnings.warn(f"first scores are measured anew the next time: {error}", GptflWarning, stacklevel=2)
    return InitialMetrics(metric.name, values)


def _read(path: Path, dynamics: Dynamics, metric: str) -> InitialMetrics | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB", "delete it")
        content = parse_json(path.read_text(encoding="utf-8"), lenient=True)
        if content["recording"] != dynamics.examples or content["metric"] != metric:
            return None
        values = np.array([float(content["values"][example.id]) for example in dynamics.pool])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__})", "delete it and measure again") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path} is damaged (a value is not finite)", "delete it and measure again")
    return InitialMetrics(metric, values)


def pool_as_test(source: FittedSimulator, features: str | Path | Features | None) -> Scope:
    """The pool's examples on both sides. Raises ``DataError`` where the estimator can't predict them."""
    recording, estimator = source.recording, source.named.estimator
    if TEST not in estimator.tags.unseen:
        raise DataError(
            f"{source.found.estimator} can't tell influence on self: it predicts only the test examples that it was "
            "fitted to",
            "use --on mean or test:ID, or an estimator that takes other test examples, such as gptfluence",
        )
    found: Features | None = None
    if source.found.features is not None:
        if isinstance(features, Features):
            found = features
        else:
            found = fitted_features(recording, source.found, estimator.tags.blind, features)
        sets = {key: FeatureSet(one.train, one.train, one.kind) for key, one in found.sets.items()}
        found = replace(found, sets=sets)
    pool = recording.dynamics.pool
    return Scope(pool, pool, source.scope.pool_seen, np.full(len(pool), -1), found)


def of_tests(scope: Scope, begin: int, end: int) -> Scope:
    """The same questions about some of the test examples, whose vectors alone are taken into memory."""
    features = scope.features
    if features is not None:
        sets = {key: replace(one, test=np.asarray(one.test[begin:end])) for key, one in features.sets.items()}
        features = replace(features, sets=sets)
    return replace(scope, test=scope.test[begin:end], test_seen=scope.test_seen[begin:end], features=features)


def initial_metrics(
    source: FittedSimulator, recipe: RunSchedule, own: InitialMetrics | None, first: Float[np.ndarray, " test"]
) -> tuple[Float[np.ndarray, " pool"], tuple[str, ...]]:
    """Where each pool example starts, as measured, else as the test examples do on average; and a note where it is that.

    Args:
        source: the simulator.
        recipe: of the runs; only where they begin at step 0 does a measurement hold.
        own: what was measured before training, None where nothing was.
        first: what the test examples start from.
    """
    if own is not None and int(recipe.grid[0]) == 0:
        return own.values, ()
    pool = len(source.recording.dynamics.pool)
    if own is not None:
        why = f"the recorded runs begin at step {int(recipe.grid[0])}, not at the untrained model"
    else:
        why = f"their own first {source.metric.name} isn't known; --model measures it"
    note = f"each pool example is taken to start from the mean of the test examples, {first.mean():.4g}: {why}"
    return np.full(pool, first.mean()), (note,)
