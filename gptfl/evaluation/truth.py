"""Runs of another recording of the same examples and model, to score predictions on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from gptfl.core import REPEAT, Example, MetricInfo, Run
from gptfl.core.runs import of_tests
from gptfl.core.values import real_path
from gptfl.errors import DataError, UsageError
from gptfl.recording.recording import OpenedRecording, choose_metric, focused


def open_truth(truth: OpenedRecording, recording: OpenedRecording, metric: MetricInfo) -> OpenedRecording:
    """The other recording at the steps that count, its runs told in this recording's examples.

    Pools and tests are matched by id: the other's pool may be smaller or in another order, and its tests must hold all
    of this recording's. Raises ``DataError`` where the two aren't of the same examples or model, or the other lacks the
    metric, and ``UsageError`` where they are one file.
    """
    if real_path(truth.path) == real_path(recording.path):
        raise UsageError(f"--truth {truth.path} is the recording that is fitted", "name another, or use --folds")
    ours, theirs = recording.dynamics.settings, truth.dynamics.settings
    if ours.weights is not None and theirs.weights is not None and ours.weights != theirs.weights:
        raise DataError(
            f"--truth {truth.path}: its runs start from other weights ({theirs.model}) than those of "
            f"{recording.path.name} ({ours.model})",
            "record both with one model",
        )
    chosen, _ = choose_metric(truth.dynamics, metric.name)
    pool = _places(truth.dynamics.pool, recording.dynamics.pool, "pool", truth, recording)
    tests = _places(recording.dynamics.test, truth.dynamics.test, "test", recording, truth)
    kept = focused(truth, chosen)
    runs = tuple(_renumbered(of_tests(run, tests), pool) for run in kept.dynamics.runs)
    dynamics = replace(kept.dynamics, pool=recording.dynamics.pool, test=recording.dynamics.test, runs=runs)
    return replace(kept, dynamics=replace(dynamics, gradients=None, sketches=None))


def tested(runs: Sequence[Run]) -> list[Run]:
    """The runs that are scored: all but repeats, whatever they were in their own recording."""
    return [run for run in runs if run.role != REPEAT]


def _renumbered(run: Run, places: Int[np.ndarray, " pool"]) -> Run:
    """The run with its batches as places of another pool."""
    batches = run.curriculum.batches
    moved = np.where(batches >= 0, places[np.maximum(batches, 0)], -1)
    return replace(run, curriculum=replace(run.curriculum, batches=moved))


def _places(
    required: Sequence[Example],
    there: Sequence[Example],
    side: str,
    requiring: OpenedRecording,
    holding: OpenedRecording,
) -> Int[np.ndarray, " wanted"]:
    """Where the examples wanted are among those there. Raises ``DataError`` where one isn't, or has another content."""
    known = {example.id: (place, example.digest) for place, example in enumerate(there)}
    places = []
    for example in required:
        place, digest = known.get(example.id, (-1, ""))
        if place < 0 or digest != example.digest:
            how = "isn't in" if place < 0 else "has another content in"
            raise DataError(
                f"{side} example {example.id!r} of {requiring.path.name} {how} {holding.path.name}",
                "record both on the same examples: the same data, --pool, --test and --seed",
            )
        places.append(place)
    return np.array(places, dtype=np.int64)
