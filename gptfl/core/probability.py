"""The probability of what is recorded as 0 or 1."""

import numpy as np
from jaxtyping import Float


def probability(mean: Float[np.ndarray, "..."], runs: int) -> Float[np.ndarray, "..."]:
    """The probability of 1, where a regression on so many runs expects ``mean``.

    The mean of what is 0 or 1 is a probability already, though a linear one may leave the range. It counts as ``runs``
    trials, of which Jeffreys' prior has seen half a 0 and half a 1 beforehand: nothing is certain after a few runs.
    """
    return np.asarray((runs * np.clip(mean, 0.0, 1.0) + 0.5) / (runs + 1.0))
