"""How far the batches of a run have moved it, summed over vectors of the examples that it has seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True)
class Vectors:
    """A vector for each training example, at one or more points along a run; linear between the points."""

    points: Int[np.ndarray, " point"]
    rows: Float[np.ndarray, "point example d"]

    def weights(self, step: int) -> list[tuple[int, float]]:
        """The points that count for a batch taken at ``step``, and how much each does."""
        right = int(np.searchsorted(self.points, step))
        if right == 0 or right == len(self.points):
            return [(min(right, len(self.points) - 1), 1.0)]
        left = right - 1
        share = float(step - self.points[left]) / float(self.points[right] - self.points[left])
        return [(left, 1.0 - share), (right, share)]


def travelled(
    batches: Int[np.ndarray, "run step batch"],
    learning_rates: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    vectors: Vectors,
) -> Iterator[Float[np.ndarray, "run d"]]:
    """At each recorded step, the sum of step size times vector over every example seen before it.

    Batch s is seen by step s + 1 and takes the vectors of its step; -1 is padding. The array is the same one each
    time: copy what is kept.
    """
    found = np.zeros((len(batches), vectors.rows.shape[2]))
    begin = 0
    for step in steps:
        for taken in range(begin, min(int(step), batches.shape[1])):
            for member in batches[:, taken].T:
                there = np.flatnonzero(member >= 0)
                rate = learning_rates[there, taken]
                for point, weight in vectors.weights(taken):
                    if weight:
                        found[there] += (rate * weight)[:, None] * vectors.rows[point, member[there]]
        begin = max(begin, int(step))
        yield found


def counted(
    batches: Int[np.ndarray, "run step batch"],
    learning_rates: Float[np.ndarray, "run step"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
) -> Iterator[Float[np.ndarray, "run pool"]]:
    """The same with a unit vector of its own for each example: the exposures, one recorded step at a time."""
    found = np.zeros((len(batches), pool))
    begin = 0
    for step in steps:
        for taken in range(begin, min(int(step), batches.shape[1])):
            run, place = np.nonzero(batches[:, taken] >= 0)
            np.add.at(found, (run, batches[run, taken, place]), learning_rates[run, taken])
        begin = max(begin, int(step))
        yield found
