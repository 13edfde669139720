"""How early an order of checking finds what is mislabelled: share found against share checked."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from gptfl.errors import DataError


@dataclass(frozen=True, slots=True)
class Detection:
    """One order of checking, held against the truth.

    ``checked`` and ``found`` are the shares of the pool and of the flips after 0, 1, 2, ... examples; where
    examples are suspected alike, ``found`` is the exact expectation over their orders, so that suspecting all alike
    is the diagonal of random order. ``area`` is the area under that curve, scaled so that random order has 0.5
    and a perfect one 1: it is the chance that a flipped example is checked before one that isn't (AUROC).
    ``chance`` is the standard deviation of a random order's area.
    """

    checked: Float[np.ndarray, " point"]
    found: Float[np.ndarray, " point"]
    area: float
    chance: float

    def found_at(self, share: float) -> float:
        """The share of flips found when this share of the pool is checked."""
        return float(np.interp(share, self.checked, self.found))


def detect(suspicion: Float[np.ndarray, " pool"], flipped: Bool[np.ndarray, " pool"]) -> Detection:
    """Check the pool from the highest suspicion to the lowest.

    Raises ``DataError`` where nothing or everything is flipped: there is no order to tell apart then.
    """
    found = found_shares(suspicion, flipped)
    total, flips = len(flipped), int(flipped.sum())
    raw = float(((found[1:] + found[:-1]) / 2).mean())
    # A perfect order's curve rises in a straight line to 1 at flips / total.
    best = 1 - flips / total / 2
    area = 0.5 + 0.5 * (raw - 0.5) / (best - 0.5)
    chance = float(np.sqrt((total + 1) / (12 * flips * (total - flips))))
    return Detection(np.arange(total + 1) / total, found, area, chance)


def found_shares(suspicion: Float[np.ndarray, " pool"], flipped: Bool[np.ndarray, " pool"]) -> Float[np.ndarray, " k"]:
    """The expected share of flips among the k most suspected, for k = 0 ... pool; ties in random order."""
    total, flips = len(flipped), int(flipped.sum())
    if flips in (0, total):
        raise DataError(f"{flips} of {total} examples are flipped", "there must be both flipped and other examples")
    order = np.argsort(-suspicion, kind="stable")
    ranked = suspicion[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    sizes = np.diff(np.append(starts, total))
    share = np.add.reduceat(flipped[order].astype(np.float64), starts) / sizes
    return np.append(0.0, np.cumsum(np.repeat(share, sizes))) / flips


def perfect_shares(flips: int, total: int) -> Float[np.ndarray, " k"]:
    """The share of flips found when all flips are checked first."""
    return np.minimum(np.arange(total + 1) / flips, 1.0)
