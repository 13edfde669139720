"""What comes of comparing estimators over a grid of settings, or over the number of runs that they are fitted to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import MetricInfo
from gptfl.core.display import Displayed
from gptfl.scores.ceiling import Ceiling
from gptfl.scores.comparison import SCORES, Comparison, ScoreRow, Value


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of values, the estimator's row there, and the comparison that it is from."""

    values: Mapping[str, Any]
    row: ScoreRow
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Sweep(Displayed):
    """The combinations in order, the last axis varying fastest."""

    estimator: str
    axes: Mapping[str, Sequence[Any]]
    points: tuple[Point, ...]
    figure: Path | None = None
    output: Path | None = None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""


@dataclass(frozen=True, slots=True)
class RunsPoint:
    """What came of fitting to so many ``runs``: a row an estimator, averaged over ``groups`` of runs (see ``averaged``)."""

    runs: int
    groups: int
    rows: tuple[ScoreRow, ...]


@dataclass(frozen=True, slots=True)
class RunsSweep(Displayed):
    """How well estimators predict the same held-out runs after having seen few or many others.

    ``estimators`` are the labels of those that it is about, beside the naive ones. ``fittable`` is how many runs
    there are to fit to: skill is against the mean of them all, at every point. ``run_seconds`` is what recording one
    run took on average, None where that isn't known; ``beside`` are the seconds that an estimator's features took, by
    its label. ``ceiling`` is there where runs were repeated in other orders.
    """

    recording: str
    metric: MetricInfo
    estimators: tuple[str, ...]
    held_out: tuple[str, ...]
    fittable: int
    points: tuple[RunsPoint, ...]
    seed: int = 42
    run_seconds: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    ceiling: Ceiling | None = None
    notes: tuple[str, ...] = ()
    figure: Path | None = None
    output: Path | None = None
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    def cost(self, point: RunsPoint, label: str) -> float | None:
        """The seconds that it takes to record what an estimator needs at a point; None where a run's isn't known."""
        return None if self.run_seconds is None else point.runs * self.run_seconds + self.beside.get(label, 0.0)


def averaged(rows: Sequence[ScoreRow]) -> ScoreRow:
    """One estimator's rows, each fitted to another group of runs, as one: mean scores with their spread over groups.

    A single row stays as it is. Where any of them failed, the reason stands for all.
    """
    failed = [row for row in rows if row.error]
    if failed or len(rows) == 1:
        return (failed or list(rows))[0]
    scores = {}
    for name in SCORES:
        values = [row.scores[name].value for row in rows if name in row.scores]
        if len(values) == len(rows):
            scores[name] = Value(float(np.mean(values)), std=float(np.std(values, ddof=1)))
    notes = tuple(dict.fromkeys(note for row in rows for note in row.notes))
    return replace(
        rows[0],
        scores=scores,
        seconds=float(np.mean([row.seconds for row in rows])),
        reused=all(row.reused for row in rows),
        notes=notes,
        best=frozenset(),
        excess=None,
        shares={},
        skill_by_step={},
        by_task={},
        coverage={},
        coverage_by_task={},
    )
