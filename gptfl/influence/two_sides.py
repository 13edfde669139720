"""What is known of two changes together: that one side gets better, and the other doesn't get worse."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from gptfl.influence.targets import LEVEL

BETTER, WORSE, OPEN = "better", "worse", "can't tell"
POINTS, FARTHEST = 400, 8.0
"""Of the integral over the first side: places, and how many standard deviations away it ends."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the mean metric of some test examples gets, positive where it does, in the metric's units.

    ``low`` and ``high`` are the ends of its interval at ``LEVEL``, None where the estimator tells none.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the interval lies above 0, below 0, or holds it; without an interval nothing can be told."""
        if self.low is None or self.high is None or self.low <= 0.0 <= self.high:
            return OPEN
        return BETTER if self.low > 0.0 else WORSE


def probability_of_both(
    mean: Float[np.ndarray, " pair"],
    other: Float[np.ndarray, " pair"],
    spread: Float[np.ndarray, " pair"],
    other_spread: Float[np.ndarray, " pair"],
    correlation: Float[np.ndarray, " pair"],
) -> Float[np.ndarray, " pair"]:
    """The probability that both of two normal values are above 0, for each pair.

    Args:
        mean: of the first values.
        other: the means of the second values.
        spread: standard deviations of the first.
        other_spread: those of the second.
        correlation: of the two, from -1 to 1.

    The first is integrated over by the midpoint rule; given it, the second is normal.
    """
    # A value that is known exactly is above 0 or not; half of it where it is 0.
    first, second = (np.maximum(one, 1e-300) for one in (spread, other_spread))
    at, than = np.clip(mean / first, -1e9, 1e9), np.clip(other / second, -1e9, 1e9)
    tied = np.clip(correlation, -1.0 + 1e-9, 1.0 - 1e-9)
    begin = np.clip(-at, -FARTHEST, FARTHEST)
    width = (FARTHEST - begin) / POINTS
    total = np.zeros(len(at))
    for point in range(POINTS):
        place = begin + (point + 0.5) * width
        density = np.exp(-0.5 * place**2) / math.sqrt(2.0 * math.pi)
        total += density * _cdf((than + tied * place) / np.sqrt(1.0 - tied**2)) * width
    return np.clip(total, 0.0, 1.0)


def _cdf(values: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    return np.array([0.5 * math.erfc(-float(one) / math.sqrt(2.0)) for one in values])


def gains_of(
    mean: Float[np.ndarray, "2"], covariance: Float[np.ndarray, "2 2"], reach: float
) -> tuple[Gain, Gain, float]:
    """Both gains with their intervals, and the probability that both are above 0.

    Args:
        mean: of both, positive where the metric gets better.
        covariance: of both, in the square of the metric's units.
        reach: how many standard deviations an interval at ``LEVEL`` reaches to each side; probabilities are those of a
            normal value with such an interval.
    """
    spread = np.sqrt(covariance.diagonal())
    first, second = (
        Gain(float(value), float(value - reach * one), float(value + reach * one))
        for value, one in zip(mean, spread, strict=True)
    )
    usual = NormalDist().inv_cdf((1 + LEVEL) / 2)
    size = float(spread.prod())
    tied = np.array([covariance[0, 1] / size if size > 0 else 0.0])
    wide = spread * reach / usual
    both = probability_of_both(mean[:1], mean[1:], wide[:1], wide[1:], tied)
    return first, second, float(both[0])
