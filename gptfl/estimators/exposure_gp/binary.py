"""Which outcomes to expect of what is recorded as 0 or 1, by how probable they are."""

import numpy as np
from jaxtyping import Float


def likely(chance: Float[np.ndarray, "..."], level: float) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Bounds of the fewest outcomes that come to a probability of ``level``: 0 alone, 1 alone, or both."""
    none, one = 1.0 - chance >= level, chance >= level
    # At a level of a half or less either may be enough.
    likelier = chance >= 0.5
    low = np.where(one & (likelier | ~none), 1.0, 0.0)
    high = np.where(none & (~likelier | ~one), 0.0, 1.0)
    return low, high
