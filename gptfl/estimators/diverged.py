"""Finds runs that diverged: one rule for all that take a mean over runs, which a single such run would decide.

A run diverged where a value is infinite, or where it lies far outside of what the others do: at some step it is further
from their median than ``FAR`` times what the median comes to anywhere, and than ``ODD`` times what is common among
them. Distances are root mean squares over test examples. Both are needed. Ordinary recordings have runs that are odd by
many median deviations, where the others happen to agree; and metrics of small values, where runs differ by a multiple.
A metric with both a least and a greatest value, such as accuracy, can't be far outside. Where half of the runs or more
go astray, there is no telling which.

A run that broke may also stay where a model is that says the same of everything: at the logarithm of the vocabulary's size,
of which a recording need not know. It is found by what such a run looks like. From some step to its end it is worse than
the others' median by more than ``STUCK`` times what is common among them and by more than ``LEFT`` of what the median comes
to anywhere; its test examples are less than half as far apart as in other runs; and it no longer moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Run
from gptfl.estimators.average import resample

FAR, ODD = 3.0, 20.0
STUCK, LEFT = 5.0, 0.25
SAME, STILL = 0.5, 0.1
"""In a run that is stuck test examples are less far apart than this share of what is usual, and over the later half of the
time the mean moves by less than this share of its distance."""
FEWEST = 3
"""Of fewer runs that are known at a step, none is odder than another; of fewer steps it can't be told that a run is stuck."""
LARGEST = 1e150
"""Squares of more overflow; nothing of that size is stuck anywhere."""
CHUNK = 64
"""So many test examples are looked at together, so that large recordings need little memory."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A run that diverged: at ``step`` its mean over test examples was ``value``, the other runs' median ``others``.

    ``value`` is infinite where a value was; ``others`` is NaN where no other run is known there. Where it is ``stuck``, it
    stays there from that step on.
    """

    index: int
    name: str
    metric: str
    step: int
    value: float
    others: float
    stuck: bool = False

    @property
    def text(self) -> str:
        """What happened, in a few words."""
        beside = "" if np.isnan(self.others) else f", where the other runs' median is {self.others:.3g}"
        where = f"stays near {self.value:.3g} from" if self.stuck else f"{self.value:.3g} at"
        return f"{self.name} diverged ({self.metric} {where} step {self.step}{' on' if self.stuck else ''}{beside})"


def diverged(runs: Sequence[Run], metrics: Mapping[str, MetricInfo]) -> list[Divergence]:
    """The runs that diverged by any of the metrics, each once, in their order."""
    found: dict[int, Divergence] = {}
    for name, metric in metrics.items():
        if np.isfinite([metric.low, metric.high]).all():
            continue
        known = [run for run in runs if len(run.steps) and name in run.metrics]
        for place, one in _by_metric(known, name, -1.0 if metric.higher_is_better else 1.0):
            found.setdefault(place, one)
    return [found[run.index] for run in runs if run.index in found]


def _by_metric(runs: Sequence[Run], metric: str, worse: float) -> list[tuple[int, Divergence]]:
    if len(runs) < FEWEST:
        return []
    grid = np.unique(np.concatenate([run.steps for run in runs]))
    found = _distances(runs, metric, grid)
    away, means, reach = found.away, found.means, found.reach
    infinite = np.array([np.isinf(run.metrics[metric]).any() for run in runs])
    diverged = []
    for place, run in enumerate(runs):
        others = np.arange(len(runs)) != place
        if infinite[place] and 2 * infinite.sum() < len(runs):
            row = int(np.flatnonzero(np.isinf(run.metrics[metric]).any(axis=1))[0])
            step, value = int(run.steps[row]), float("inf")
        else:
            known = np.isfinite(away[place]) & (np.isfinite(away[others]).sum(axis=0) >= FEWEST - 1)
            if not known.any():
                continue
            common = float(_medians(away[others][:, known]).max())
            far = np.flatnonzero(known)[away[place, known] > max(FAR * reach, ODD * common)]
            if len(far) == 0 or reach == 0:
                stuck = _stuck(found, place, np.flatnonzero(known), worse, max(STUCK * common, LEFT * reach))
                if stuck is not None:
                    row, value, middle = stuck
                    one = Divergence(run.index, run.name, metric, int(grid[row]), value, middle, stuck=True)
                    diverged.append((run.index, one))
                continue
            at = int(far[np.argmax(away[place, far])])
            step, value = int(grid[at]), float(means[place, at])
        beside = means[others, int(np.searchsorted(grid, step))]
        beside = beside[np.isfinite(beside)]
        middle = float(np.median(beside)) if len(beside) else float("nan")
        diverged.append((run.index, Divergence(run.index, run.name, metric, step, value, middle)))
    return diverged


def _medians(values: Float[np.ndarray, "run recorded"]) -> Float[np.ndarray, " recorded"]:
    """The median over runs, NaN left out: numpy's own takes ten times as long where NaN may be among few numbers."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(values).sum(axis=0) + np.isinf(values).sum(axis=0)
    below, above = (
        ordered[np.maximum(place, 0), np.arange(values.shape[1])] for place in ((count - 1) // 2, count // 2)
    )
    return np.where(count > 0, (below + above) / 2.0, np.nan)


def _stuck(
    found: "_Distances", place: int, rows: Int[np.ndarray, " known"], worse: float, least: float
) -> tuple[int, float, float] | None:
    """From which row on a run is stuck, at which mean, and the other runs' median there; None where it isn't.

    ``rows`` are those at which it and enough others are known, ``worse`` the sign of what is worse, ``least`` how far it
    must be off.
    """
    others = np.arange(len(found.means)) != place
    middle = _medians(found.means[others][:, rows])
    apart = _medians(found.apart[others][:, rows])
    mean = found.means[place, rows]
    off = worse * (mean - middle)
    is_off = (off > least) & (found.apart[place, rows] < SAME * apart)
    since = len(rows) - int(np.argmin(is_off[::-1])) if not is_off.all() else 0
    rest = slice(since, None)
    count = len(rows) - since
    if count < FEWEST:
        return None
    late = mean[since + min(count // 2, count - FEWEST) :]
    if np.ptp(late) >= STILL * float(np.median(off[rest])):
        return None
    return int(rows[since]), float(np.median(late)), float(np.median(middle[rest]))


@dataclass(frozen=True, slots=True)
class _Distances:
    """How far each run is from the median run (``away``), its mean over test examples, how far these are apart in it (a
    standard deviation), and the most that the median comes to.
    """

    away: Float[np.ndarray, "run grid"]
    means: Float[np.ndarray, "run grid"]
    apart: Float[np.ndarray, "run grid"]
    reach: float


def _distances(runs: Sequence[Run], metric: str, grid: Int[np.ndarray, " grid"]) -> _Distances:
    """Judged over the test examples that enough runs know."""
    tests = runs[0].metrics[metric].shape[1]
    squares, sums, powers, count = (np.zeros((len(runs), len(grid))) for _ in range(4))
    reach, common = np.zeros(len(grid)), np.zeros(len(grid))
    for start in range(0, tests, CHUNK):
        part = slice(start, start + CHUNK)
        values = np.stack([resample(run.steps, run.metrics[metric][:, part].astype(np.float64), grid) for run in runs])
        known = np.isfinite(values)
        enough = known.sum(axis=0) >= FEWEST
        # What no run knows has no median.
        middle = np.zeros(enough.shape)
        middle[enough] = _medians(np.where(known, values, np.nan)[:, enough])
        compared = known & enough
        squares += np.where(compared, (np.where(known, values, 0.0) - middle) ** 2, 0.0).sum(axis=2)
        sums += np.where(compared, values, 0.0).sum(axis=2)
        powers += np.where(compared, values, 0.0).clip(-LARGEST, LARGEST) ** 2 @ np.ones(values.shape[2])
        count += compared.sum(axis=2)
        reach += np.where(enough, middle**2, 0.0).sum(axis=1)
        common += enough.sum(axis=1)
    with np.errstate(invalid="ignore"):
        most = np.sqrt(reach / np.where(common > 0, common, np.nan))
        several = np.where(count > 0, count, np.nan)
        away, means = np.sqrt(squares / several), sums / several
        apart = np.sqrt(np.maximum(powers / several - means.clip(-LARGEST, LARGEST) ** 2, 0.0))
    return _Distances(away, means, apart, float(np.nanmax(most, initial=0.0)))
