"""How often runs have seen each training example so far, step by step."""

from typing import Self

import numpy as np
from jaxtyping import Float, Int


class Tally:
    """Exposures of several runs as one matrix that moves forward in time.

    ``columns[i]`` is the column of pool example i, -1 where it is left out. An example that is twice in a batch
    counts twice; with ``rates`` it counts by the step size at which it was seen, else by 1.
    """

    def __init__(
        self,
        batches: Int[np.ndarray, "run step batch"],
        rates: Float[np.ndarray, "run step"] | None,
        columns: Int[np.ndarray, " pool"],
    ) -> None:
        self.members = np.where(batches >= 0, columns[np.maximum(batches, 0)], -1)
        self.rates = rates
        self.step = 0
        self.seen: Float[np.ndarray, "run column"] = np.zeros((len(batches), int(columns.max(initial=-1)) + 1))

    def forward(self, step: int) -> Self:
        """Count the batches up to a step that isn't before the last one asked for."""
        part = self.members[:, self.step : step]
        run, at, place = np.nonzero(part >= 0)
        weight = 1.0 if self.rates is None else self.rates[run, self.step + at]
        np.add.at(self.seen, (run, part[run, at, place]), weight)
        self.step = max(self.step, step)
        return self


def columns_of(batches: Int[np.ndarray, "run step batch"], pool: int) -> Int[np.ndarray, " pool"]:
    """A column for every pool example that occurs, -1 for the others."""
    members = np.unique(batches[batches >= 0])
    columns = np.full(pool, -1, dtype=np.int64)
    columns[members] = np.arange(len(members))
    return columns
