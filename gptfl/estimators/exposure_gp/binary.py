"""Predictions of what is recorded as 0 or 1: a probability, and which of the two to expect."""

import numpy as np
from jaxtyping import Float


def probability(mean: Float[np.ndarray, "..."], runs: int) -> Float[np.ndarray, "..."]:
    """The probability of 1, where a regression on so many runs expects ``mean``.

    The mean of what is 0 or 1 is a probability already, though a linear one may leave the range. It counts as ``runs``
    trials, of which Jeffreys' prior has seen half a 0 and half a 1 beforehand: nothing is certain after a few runs.
    """
    return np.asarray((runs * np.clip(mean, 0.0, 1.0) + 0.5) / (runs + 1.0))


def likely(chance: Float[np.ndarray, "..."], level: float) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Bounds of the fewest outcomes that come to a probability of ``level``: 0 alone, 1 alone, or both."""
    none, one = 1.0 - chance >= level, chance >= level
    # At a level of a half or less either may be enough.
    likelier = chance >= 0.5
    low = np.where(one & (likelier | ~none), 1.0, 0.0)
    high = np.where(none & (~likelier | ~one), 0.0, 1.0)
    return low, high
