"""The recurrence itself, and how recorded runs and curricula become its steps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.plugins import FitData, Query, Run, presentation_weights, relative_weights


def count(
    batches: Int[np.ndarray, "run step batch"],
    pool: int,
    usual: int | None = None,
    relative: Float[np.ndarray, " pool"] | None = None,
) -> Float[np.ndarray, "run pool"]:
    """How often each pool example occurs in each run's batches; -1 is padding.

    With a ``usual`` number of examples in a batch, those of every batch together count as much as those of such a one,
    since the loss of a batch is the mean over its examples; where it is one over tokens, each counts by them (``relative``).
    """
    flat = batches.reshape(len(batches), -1).astype(np.int64)
    rows = np.broadcast_to(np.arange(len(flat))[:, None], flat.shape)
    there = flat >= 0
    cells = rows[there] * pool + flat[there]
    weights = None
    if usual is not None:
        each = presentation_weights(batches, np.full(batches.shape[:2], float(usual)), relative)
        weights = np.broadcast_to(each[:, :, None], batches.shape)[batches >= 0]
        weights = weights if relative is None else weights * relative[batches[batches >= 0]]
    return np.bincount(cells, weights, len(flat) * pool).reshape(len(flat), pool).astype(np.float64)


def advance(
    values: Float[np.ndarray, "run test"],
    counts: Float[np.ndarray, "run pool"],
    alpha: Float[np.ndarray, "pool test"],
    beta: Float[np.ndarray, "pool test"],
) -> Float[np.ndarray, "run test"]:
    """One step: each example that was seen adds its alpha to a factor of 1, and its beta."""
    after: np.ndarray = values * (1.0 + counts @ alpha) + counts @ beta
    return after


@dataclass(frozen=True, slots=True)
class Intervals:
    """One run between its recorded steps: what was seen in each interval, and the values around it."""

    counts: Float[np.ndarray, "interval pool"]
    values: Float[np.ndarray, "recorded test"]


def usual_batch(runs: Sequence[Run]) -> int | None:
    """How many examples the batches of some runs hold most often, empty ones aside; None where all are empty."""
    filled = np.concatenate([(run.curriculum.batches >= 0).sum(axis=1) for run in runs])
    return int(np.bincount(filled[filled > 0]).argmax()) if filled.any() else None


def intervals_of(data: FitData, run: Run, usual: int | None = None) -> Intervals:
    """Cut one recorded run at its recorded steps; batch t leads from step t to step t + 1."""
    batches = run.curriculum.batches
    ends = zip(run.steps[:-1], run.steps[1:], strict=True)
    relative = relative_weights(data.pool)
    counts = [count(batches[None, start:stop], len(data.pool), usual, relative)[0] for start, stop in ends]
    return Intervals(np.array(counts).reshape(-1, len(data.pool)), data.recorded(run).astype(np.float64))


def usual_interval(runs: Sequence[Run]) -> int:
    """The commonest distance between recorded steps, the smallest of several."""
    distances = Counter(int(distance) for run in runs for distance in np.diff(run.steps))
    return max(sorted(distances), key=lambda distance: distances[distance])


def roll_out(
    query: Query,
    interval: int,
    alpha: Float[np.ndarray, "pool test"],
    beta: Float[np.ndarray, "pool test"],
    usual: int | None = None,
    relative: Float[np.ndarray, " pool"] | None = None,
) -> Float[np.ndarray, "run recorded test"]:
    """Step from the given first values by whole intervals, and by a part of one to a step in between.

    A step in between does not feed back, so that a prediction does not depend on what else is asked.
    """
    values = np.empty((len(query.batches), len(query.steps), query.first.shape[1]))
    current = query.first.astype(np.float64)
    for start in range(int(query.steps[0]), int(query.steps[-1]) + 1, interval):
        for column in np.flatnonzero((query.steps >= start) & (query.steps < start + interval)):
            part = count(query.batches[:, start : query.steps[column]], len(alpha), usual, relative)
            values[:, column] = advance(current, part, alpha, beta)
        seen = count(query.batches[:, start : start + interval], len(alpha), usual, relative)
        current = advance(current, seen, alpha, beta)
    return values
