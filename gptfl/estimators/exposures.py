"""How much of each training example a run has seen so far: step sizes times shares of the batch."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import presentation_weights

ENTRIES = 8_000_000
"""How many numbers one chunk of exposures holds at most (64 MB), unless a single run has more."""


def exposures(
    batches: Int[np.ndarray, "run step batch"],
    learning_rates: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
    groups: Int[np.ndarray, " pool"] | None = None,
    counts: Float[np.ndarray, " pool"] | None = None,
) -> Float[np.ndarray, "run recorded pool"]:
    """The sum over the steps before each recorded one of step size times the example's share of the batch.

    Args:
        batches: places in the pool; step s has seen batches 0 .. s-1, an example that is twice in a batch counts twice,
            and
            -1 is padding (see ``presentation_weights``).
        learning_rates: of each step.
        steps: recorded steps, ascending.
        pool: how many examples there are.
        groups: a group's index for each example; the last axis is then groups, and no array over the pool is made.
        counts: the examples' ``relative_weights``, where they don't count alike.
    """
    width = pool if groups is None else int(groups.max(initial=-1)) + 1
    result = np.zeros((len(batches), len(steps), width))
    weights = presentation_weights(batches, learning_rates, counts)
    run, step, _ = np.nonzero(batches >= 0)
    member = batches[batches >= 0]
    # An example of batch t is seen from the first recorded step beyond t on.
    row = np.searchsorted(steps, step, side="right")
    seen = row < len(steps)
    run, row, member, size = run[seen], row[seen], member[seen], weights[run, step][seen]
    size = size if counts is None else size * counts[member]
    np.add.at(result, (run, row, member if groups is None else groups[member]), size)
    return np.cumsum(result, axis=1, out=result)


def exposures_by_chunk(
    batches: Int[np.ndarray, "run step batch"],
    learning_rates: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
    entries: int = ENTRIES,
) -> Iterator[tuple[slice, Float[np.ndarray, "chunk recorded pool"]]]:
    """The same, a few runs at a time, with the slice of the runs.

    Args:
        batches: places in the pool; -1 is padding.
        learning_rates: of each step.
        steps: recorded steps, ascending.
        pool: how many examples there are.
        entries: no more than so many numbers are held at once, or one run's.
    """
    size = max(1, entries // max(1, len(steps) * pool))
    for start in range(0, len(batches), size):
        chunk = slice(start, min(start + size, len(batches)))
        yield chunk, exposures(batches[chunk], learning_rates[chunk], steps, pool)


def shares(totals: Float[np.ndarray, "run recorded group"]) -> Float[np.ndarray, "run recorded group"]:
    """Each group's share of the exposure so far; equal shares where nothing was seen yet."""
    total = totals.sum(axis=2, keepdims=True)
    return np.where(total > 0, totals / np.where(total > 0, total, 1.0), 1.0 / max(1, totals.shape[2]))
