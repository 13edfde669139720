"""How often runs have seen each training example so far, step by step."""

from typing import Self

import numpy as np
from jaxtyping import Float, Int


class Tally:
    """Exposures of several runs as one matrix that moves forward in time.

    ``columns[i]`` is the column of pool example i, -1 where it is left out. ``weights`` are those of seeing an example
    once at each step; one that is twice in a batch counts twice.
    """

    def __init__(
        self,
        batches: Int[np.ndarray, "run step batch"],
        weights: Float[np.ndarray, "run step"] | Float[np.ndarray, "run step batch"],
        columns: Int[np.ndarray, " pool"],
    ) -> None:
        self.members = np.where(batches >= 0, columns[np.maximum(batches, 0)], -1)
        self.weights = weights
        self.step = 0
        self.seen: Float[np.ndarray, "run column"] = np.zeros((len(batches), int(columns.max(initial=-1)) + 1))

    def forward(self, step: int) -> Self:
        """Count the batches up to a step that isn't before the last one asked for."""
        part = self.members[:, self.step : step]
        run, at, place = np.nonzero(part >= 0)
        each = self.weights[run, self.step + at]
        each = each if each.ndim == 1 else each[np.arange(len(place)), place]
        np.add.at(self.seen, (run, part[run, at, place]), each)
        self.step = max(self.step, step)
        return self


def columns_of(batches: Int[np.ndarray, "run step batch"], pool: int) -> Int[np.ndarray, " pool"]:
    """A column for every pool example that occurs, -1 for the others."""
    members = np.unique(batches[batches >= 0])
    columns = np.full(pool, -1, dtype=np.int64)
    columns[members] = np.arange(len(members))
    return columns
