"""What is read of a large pool in blocks, for those that need all of it in memory: what that takes, and whether it's there."""

from gptfl.core import Features, GradientProducts
from gptfl.core.free_memory import check_memory, free_memory, gigabytes

TIMES = 3
"""So many times the vectors as 32-bit floats are in memory at once, at most, where an estimator is fitted to them all."""


def in_memory(features: Features, who: str) -> tuple[Features, tuple[str, ...]]:
    """Features with all vectors in memory, and what to tell of that where they were read in blocks until then.

    Args:
        features: of a recording.
        who: needs them, as messages call it.

    Raises ``ResourceError`` where they don't fit into the memory that is free.
    """
    if not features.in_blocks:
        return features, ()
    needed = memory_needed(features)
    takes = f"{who} needs all vectors of the pool at once, up to {gigabytes(needed)} of memory"
    remedy = (
        "take exposure-gp or gptfluence, which read them some at a time, or fewer numbers a vector (gptfl featurize --set "
        "dimensions=N, or --set points=S of gradients)"
    )
    check_memory(takes, needed, free_memory(), remedy)
    return features.in_memory(), (takes,)


def products_in_memory(gradients: GradientProducts, who: str) -> GradientProducts:
    """Gradient products that are all in memory.

    Args:
        gradients: of a recording.
        who: needs them, as messages call it.

    Raises ``ResourceError`` where they don't fit into the memory that is free.
    """
    if not gradients.in_blocks:
        return gradients
    # They are there once, and whoever takes them may copy one kind.
    needed = 2 * gradients.nbytes
    takes = f"{who} needs all gradient products at once, up to {gigabytes(needed)} of memory"
    check_memory(takes, needed, free_memory(), "take an estimator that reads them some at a time, such as tracin-cp")
    return gradients.in_memory()


def memory_needed(features: Features) -> int:
    """The bytes that an estimator takes at most which is fitted to all vectors at once."""
    return TIMES * 4 * sum(one.train.size + one.test.size for one in features.sets.values())
