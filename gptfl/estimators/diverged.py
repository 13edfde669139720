"""Finds runs that diverged: one rule for all that take a mean over runs, which a single such run would decide.

A run diverged where a value is infinite, or where it lies far outside of what the others do: at some step it is further
from their median than ``FAR`` times what the median comes to anywhere, and than ``ODD`` times what is common among
them. Distances are root mean squares over test examples. Both are needed. Ordinary recordings have runs that are odd by
many median deviations, where the others happen to agree; and metrics of small values, where runs differ by a multiple.
A metric with both a least and a greatest value, such as accuracy, can't be far outside. Where half of the runs or more
go astray, there is no telling which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Run
from gptfl.estimators.average import resample

FAR, ODD = 3.0, 20.0
FEWEST = 3
"""Of fewer runs that are known at a step, none is odder than another."""
CHUNK = 64
"""So many test examples are looked at together, so that large recordings need little memory."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A run that diverged: at ``step`` its mean over test examples was ``value``, the other runs' median ``others``.

    ``value`` is infinite where a value was; ``others`` is NaN where no other run is known there.
    """

    index: int
    name: str
    metric: str
    step: int
    value: float
    others: float

    @property
    def text(self) -> str:
        """What happened, in a few words."""
        beside = "" if np.isnan(self.others) else f", where the other runs' median is {self.others:.3g}"
        return f"{self.name} diverged ({self.metric} {self.value:.3g} at step {self.step}{beside})"


def diverged(runs: Sequence[Run], metrics: Mapping[str, MetricInfo]) -> list[Divergence]:
    """The runs that diverged by any of the metrics, each once, in their order."""
    found: dict[int, Divergence] = {}
    for name, metric in metrics.items():
        if np.isfinite([metric.low, metric.high]).all():
            continue
        for place, one in _by_metric([run for run in runs if len(run.steps) and name in run.metrics], name):
            found.setdefault(place, one)
    return [found[run.index] for run in runs if run.index in found]


def _by_metric(runs: Sequence[Run], metric: str) -> list[tuple[int, Divergence]]:
    if len(runs) < FEWEST:
        return []
    grid = np.unique(np.concatenate([run.steps for run in runs]))
    away, means, reach = _distances(runs, metric, grid)
    infinite = np.array([np.isinf(run.metrics[metric]).any() for run in runs])
    told = []
    for place, run in enumerate(runs):
        others = np.arange(len(runs)) != place
        if infinite[place] and 2 * infinite.sum() < len(runs):
            row = int(np.flatnonzero(np.isinf(run.metrics[metric]).any(axis=1))[0])
            step, value = int(run.steps[row]), float("inf")
        else:
            known = np.isfinite(away[place]) & (np.isfinite(away[others]).sum(axis=0) >= FEWEST - 1)
            if not known.any():
                continue
            common = float(np.nanmedian(away[others][:, known], axis=0).max())
            far = np.flatnonzero(known)[away[place, known] > max(FAR * reach, ODD * common)]
            if len(far) == 0 or reach == 0:
                continue
            at = int(far[np.argmax(away[place, far])])
            step, value = int(grid[at]), float(means[place, at])
        beside = means[others, int(np.searchsorted(grid, step))]
        beside = beside[np.isfinite(beside)]
        middle = float(np.median(beside)) if len(beside) else float("nan")
        told.append((run.index, Divergence(run.index, run.name, metric, step, value, middle)))
    return told


def _distances(
    runs: Sequence[Run], metric: str, grid: Int[np.ndarray, " grid"]
) -> tuple[Float[np.ndarray, "run grid"], Float[np.ndarray, "run grid"], float]:
    """How far each run is from the median run, its mean over test examples, and the most that the median comes to."""
    tests = runs[0].metrics[metric].shape[1]
    squares, sums, count = (np.zeros((len(runs), len(grid))) for _ in range(3))
    reach, common = np.zeros(len(grid)), np.zeros(len(grid))
    for start in range(0, tests, CHUNK):
        part = slice(start, start + CHUNK)
        values = np.stack([resample(run.steps, run.metrics[metric][:, part].astype(np.float64), grid) for run in runs])
        known = np.isfinite(values)
        enough = known.sum(axis=0) >= FEWEST
        # What no run knows has no median.
        middle = np.zeros(enough.shape)
        middle[enough] = np.nanmedian(np.where(known, values, np.nan)[:, enough], axis=0)
        judged = known & enough
        squares += np.where(judged, (np.where(known, values, 0.0) - middle) ** 2, 0.0).sum(axis=2)
        sums += np.where(judged, values, 0.0).sum(axis=2)
        count += judged.sum(axis=2)
        reach += np.where(enough, middle**2, 0.0).sum(axis=1)
        common += enough.sum(axis=1)
    with np.errstate(invalid="ignore"):
        most = np.sqrt(reach / np.where(common > 0, common, np.nan))
        away, means = np.sqrt(squares / np.where(count > 0, count, np.nan)), sums / np.where(count > 0, count, np.nan)
    return away, means, float(np.nanmax(most, initial=0.0))
