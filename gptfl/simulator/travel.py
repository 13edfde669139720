"""How far the batches of a run have moved it, summed over vectors of the examples that it has seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array


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
    time: copy what is kept. What one recorded step adds to the last is summed in the precision of the vectors.
    """
    points, examples, width = vectors.rows.shape
    rows = vectors.rows.reshape(points * examples, width)
    shares = [vectors.weights(taken) for taken in range(batches.shape[1])]
    found = np.zeros((len(batches), width))
    begin = 0
    for step in steps:
        weights, runs, places = [np.zeros(0)], [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for taken in range(begin, min(int(step), batches.shape[1])):
            run, column = np.nonzero(batches[:, taken] >= 0)
            for point, share in shares[taken]:
                weights.append(share * learning_rates[run, taken])
                runs.append(run)
                places.append(point * examples + batches[run, taken, column])
        seen = np.concatenate(weights).astype(rows.dtype), (np.concatenate(runs), np.concatenate(places))
        if len(seen[0]):
            found += csr_array(seen, shape=(len(batches), len(rows))) @ rows
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
