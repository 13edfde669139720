"""What was recorded where a map expected so much: the bounds of intervals, without a law for what scatters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

MOST_BINS, LEAST_IN_BIN = 32, 40
"""Expected shares are divided into so many bins of equal count at most, none of fewer."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Short intervals that hold so many recorded shares, by expected ones.

    Scores of single answers are often just 0 or 1, or a few numbers between: what lies around an expectation is no bell. So
    bounds are recorded shares of runs left out for which about as much was expected, joined linearly between the means of
    the bins. ``expected`` [bin] is ascending; ``bounds`` [bin, level, 2] are the lower and upper ends.
    """

    expected: Float[np.ndarray, " bin"]
    bounds: Float[np.ndarray, "bin level 2"]

    @classmethod
    def of(
        cls, expected: Float[np.ndarray, " point"], recorded: Float[np.ndarray, " point"], levels: Sequence[float]
    ) -> Self:
        """Of pairs of shares, for intervals of these levels: the widest is the shortest of all, the next the shortest within.

        Each holds no fewer of a bin than its level says.
        """
        order = np.argsort(expected, kind="stable")
        bins = np.array_split(order, int(np.clip(len(order) // LEAST_IN_BIN, 1, MOST_BINS)))
        ends = np.zeros((len(bins), len(levels), 2))
        for place, members in enumerate(bins):
            shares = np.sort(recorded[members])
            for row in np.argsort(levels)[::-1]:
                count = max(math.ceil(levels[row] * len(recorded[members])), 1)
                lower, upper = shares[: len(shares) - count + 1], shares[count - 1 :]
                shortest = int(np.argmin(upper - lower))
                ends[place, row] = lower[shortest], upper[shortest]
                shares = shares[shortest : shortest + count]
        return cls(np.array([expected[members].mean() for members in bins]), ends)

    def at(
        self, expected: Float[np.ndarray, "..."], level: int
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """The bounds where so much is expected, of the level at this place; they hold the expectation itself."""
        low, high = (np.interp(expected, self.expected, self.bounds[:, level, end]) for end in (0, 1))
        return np.minimum(low, expected), np.maximum(high, expected)
