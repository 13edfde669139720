"""Whether predictive intervals hold what they promise: how often they contain what was recorded, and how wide they are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.scores.pointwise import counted


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of recorded points inside the intervals of one level, and the mean width of these intervals.

    ``points`` is how many recorded points that is of; share and width are NaN where there is none.
    """

    share: float
    width: float
    points: int


def coverage(
    low: Float[np.ndarray, "run recorded test"],
    high: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
) -> Coverage:
    """Coverage pooled over runs, steps and test examples.

    The given first point of a run and what was not recorded (NaN) count for nothing; a point on a bound is inside.
    """
    mask = counted(recorded)
    points = int(mask.sum())
    if points == 0:
        return Coverage(float("nan"), float("nan"), 0)
    inside = (low[mask] <= recorded[mask]) & (recorded[mask] <= high[mask])
    return Coverage(float(inside.mean()), float((high[mask] - low[mask]).mean()), points)
