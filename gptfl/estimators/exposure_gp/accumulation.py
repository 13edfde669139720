"""How far the batches of a run have moved it, summed over vectors of the examples that it has seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

MANY = 64
"""Sums of this many runs and more are worth the time that scipy's sparse matrices take to load."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """A vector for each training example, at one or more points along a run; linear between the points."""

    points: Int[np.ndarray, " point"]
    rows: Float[np.ndarray, "point example d"]

    def weights(self, step: float) -> list[tuple[int, float]]:
        """The points that count for a batch taken at ``step``, and how much each does."""
        right = int(np.searchsorted(self.points, step))
        if right == 0 or right == len(self.points):
            return [(min(right, len(self.points) - 1), 1.0)]
        left = right - 1
        share = float(step - self.points[left]) / float(self.points[right] - self.points[left])
        return [(left, 1.0 - share), (right, share)]


def accumulated(
    batches: Int[np.ndarray, "run step batch"],
    weights: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    vectors: Vectors,
    reach: float | None = None,
    at: Float[np.ndarray, " step_and_end"] | None = None,
) -> Iterator[Float[np.ndarray, "run d"]]:
    """At each recorded step, the sum of weight times vector over every example seen before it.

    The array is the same one each time: copy what is kept. What one recorded step adds to the last is summed in the
    precision of the vectors.

    Args:
        batches: places among the vectors; batch s is seen by step s + 1 and takes the vectors of its step; -1 is
            padding.
        weights: of seeing an example once at each step (``presentation_weights``).
        steps: recorded steps, ascending.
        vectors: of the examples, at one or more points of a path.
        reach: what was seen counts less and less, by a factor of e after so many steps; None for no decay.
        at: which step of the vectors' path each step stands for, and the end of the last one (None: itself).
    """
    points, examples, width = vectors.rows.shape
    rows = vectors.rows.reshape(points * examples, width)
    length = batches.shape[1]
    at = np.arange(length + 1, dtype=np.float64) if at is None else at

    def place_of(step: int) -> float:
        return float(at[min(step, length)] + max(step - length, 0))

    around = [vectors.weights(taken) for taken in at[:length]]
    left, right = (np.array([one[side][0] for one in around], dtype=np.int64) for side in (0, -1))
    share = np.array([one[1][1] if len(one) > 1 else 0.0 for one in around])
    between = bool(share.any())
    found = np.zeros((len(batches), width))
    begin = 0
    for step in steps:
        if int(step) > begin:
            taken = batches[:, begin : int(step)]
            run, offset, column = np.nonzero(taken >= 0)
            member, place = taken[run, offset, column], begin + offset
            own = weights[run, place]
            if reach is not None:
                end = place_of(int(step))
                found *= np.exp((place_of(begin) - end) / reach)
                own = own * np.exp((at[place + 1] - end) / reach)
            weight, where = own[:, None], (left[place] * examples + member)[:, None]
            if between:
                weight = np.stack([own * (1.0 - share[place]), own * share[place]], axis=1)
                where = np.stack([where[:, 0], right[place] * examples + member], axis=1)
            # Runs are in order, so that these are the rows of a sparse matrix as they stand.
            kept = weight != 0
            counts = np.bincount(run, kept.sum(axis=1), len(batches))
            begins = np.append(0, np.cumsum(counts)).astype(np.int64)
            found += _weighted_sums(weight[kept].astype(rows.dtype), where[kept], begins, rows)
            begin = int(step)
        yield found


def _weighted_sums(
    weights: Float[np.ndarray, " seen"],
    where: Int[np.ndarray, " seen"],
    begins: Int[np.ndarray, " run_and_end"],
    rows: Float[np.ndarray, "row d"],
) -> Float[np.ndarray, "run d"]:
    """The weighted sum of the rows that each run has seen: those from where it begins to where the next one does."""
    runs = len(begins) - 1
    if runs >= MANY:
        from scipy.sparse import csr_array

        return np.asarray(csr_array((weights, where, begins), shape=(runs, len(rows))) @ rows)
    found = np.empty((runs, rows.shape[1]), dtype=rows.dtype)
    for run, (first, end) in enumerate(pairwise(begins.tolist())):
        found[run] = weights[first:end] @ rows[where[first:end]]
    return found


def accumulated_counts(
    batches: Int[np.ndarray, "run step batch"],
    weights: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
) -> Iterator[Float[np.ndarray, "run pool"]]:
    """The same with a unit vector of its own for each example: the exposures, one recorded step at a time.

    Args:
        batches: places in the pool; -1 is padding.
        weights: of seeing an example once at each step (``presentation_weights``).
        steps: recorded steps, ascending.
        pool: how many examples there are.
    """
    found = np.zeros((len(batches), pool))
    begin = 0
    for step in steps:
        if int(step) > begin:
            # Step after step, so that the sums are the same however many steps lie between two recorded ones.
            taken = batches[:, begin : int(step)].transpose(1, 0, 2)
            offset, run, place = np.nonzero(taken >= 0)
            np.add.at(found, (run, taken[offset, run, place]), weights[run, begin + offset])
            begin = int(step)
        yield found
