"""Whether predictive intervals hold what they promise: how often they contain what was recorded, and how wide they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores.pointwise import counted
from gptfl.scores.sampling import RunDraws

Intervals = Mapping[float, tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]]
"""Lower and upper bounds by level, such as 0.9."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of recorded points inside the intervals of one level, and the mean width of these intervals.

    ``points`` is how many recorded points that is of; share and width are NaN where there is none. ``interval`` is the
    95 % interval of the share, by a bootstrap over runs: the points of a run miss together, so that they are far from as
    many independent ones. Where runs of several training sets share orders, it is one over sets and orders.
    """

    share: float
    width: float
    points: int
    interval: tuple[float, float] | None = None


def coverage(
    low: Float[np.ndarray, "run recorded test"],
    high: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    draws: RunDraws | None = None,
) -> Coverage:
    """The share of recorded points inside an interval, pooled over runs, steps and test examples, and its mean width.

    The given first point of a run counts for nothing; a point on a bound is inside.

    Args:
        low: lower bounds.
        high: upper bounds.
        recorded: the values; what was not recorded is NaN and counts for nothing.
        draws: samples of runs; without them the coverage has no interval of its own.
    """
    mask = counted(recorded)
    points = int(mask.sum())
    if points == 0:
        return Coverage(float("nan"), float("nan"), 0)
    inside = (low[mask] <= recorded[mask]) & (recorded[mask] <= high[mask])
    share, width = float(inside.mean()), float((high[mask] - low[mask]).mean())
    if draws is None:
        return Coverage(share, width, points)
    count = mask.sum(axis=(1, 2)).astype(np.float64)
    held = ((low <= recorded) & (recorded <= high) & mask).sum(axis=(1, 2)).astype(np.float64)
    least, most = draws.interval(held, count)
    return Coverage(share, width, points, (max(0.0, least), min(1.0, most)))


def coverages(
    intervals: Intervals,
    recorded: Float[np.ndarray, "run recorded test"],
    draws: RunDraws,
    places: Int[np.ndarray, " part"] | None = None,
) -> dict[float, Coverage]:
    """The coverage at each level.

    Args:
        intervals: lower and upper bounds by level.
        recorded: the values, NaN where not recorded.
        draws: samples of runs.
        places: the test examples that count, None for all.
    """
    own = slice(None) if places is None else places
    return {
        level: coverage(low[:, :, own], high[:, :, own], recorded[:, :, own], draws)
        for level, (low, high) in sorted(intervals.items())
    }
