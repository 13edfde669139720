"""How often runs have seen each training example so far, step by step."""

from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int


class Tally:
    """Exposures of several runs as one matrix that moves forward in time.

    It is scipy's sparse one: of a large pool most runs have seen little. ``columns[i]`` is the column of pool example i, -1
    where it is left out. ``weights`` are those of seeing an example once at each step; one that is twice in a batch counts
    twice.
    """

    def __init__(
        self,
        batches: Int[np.ndarray, "run step batch"],
        weights: Float[np.ndarray, "run step"] | Float[np.ndarray, "run step batch"],
        columns: Int[np.ndarray, " pool"],
    ) -> None:
        from scipy.sparse import csr_array  # takes as long to load as a simulation

        self.members = np.where(batches >= 0, columns[np.maximum(batches, 0)], -1)
        self.weights = weights
        self.step = 0
        self.seen: Any = csr_array((len(batches), int(columns.max(initial=-1)) + 1))
        """The exposures to each column, by run."""

    def forward(self, step: int) -> Self:
        """Count the batches up to a step that isn't before the last one asked for."""
        from scipy.sparse import csr_array

        part = self.members[:, self.step : step]
        run, at, place = np.nonzero(part >= 0)
        each = self.weights[run, self.step + at]
        each = each if each.ndim == 1 else each[np.arange(len(place)), place]
        if len(run):
            self.seen = self.seen + csr_array((each, (run, part[run, at, place])), shape=self.seen.shape)
        self.step = max(self.step, step)
        return self

    def products(self, other: Any) -> Float[np.ndarray, "run other"]:
        """Products of these runs' exposures with those of others, given as a sparse matrix."""
        return np.asarray((self.seen @ other.T).toarray())


def columns_of(batches: Int[np.ndarray, "run step batch"], pool: int) -> Int[np.ndarray, " pool"]:
    """A column for every pool example that occurs, -1 for the others."""
    members = np.unique(batches[batches >= 0])
    columns = np.full(pool, -1, dtype=np.int64)
    columns[members] = np.arange(len(members))
    return columns
