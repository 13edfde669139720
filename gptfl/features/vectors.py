"""The vectors of a pool, some rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from gptfl.core import Features

CHUNK_BYTES = 2**25
"""The vectors of so many examples are in memory at once, an estimator's own working space aside."""
CHUNK = 4096
"""At most so many examples are asked about at once."""


class VectorSource(Protocol):
    """The vectors of a pool, some rows at a time."""

    @property
    def width(self) -> int:
        """How many bytes those of one example take."""
        ...

    def rows(self, start: int, stop: int) -> dict[str, Float[np.ndarray, "example d"]]:
        """Those of examples ``start`` to ``stop`` in each set."""
        ...


@dataclass(frozen=True, slots=True)
class VectorsInMemory:
    """Vectors that are in memory already; none where there are no features."""

    features: Features | None

    @property
    def width(self) -> int:
        """How many bytes those of one example take."""
        if self.features is None:
            return 0
        return sum(one.train.shape[1] * one.train.dtype.itemsize for one in self.features.sets.values())

    def rows(self, start: int, stop: int) -> dict[str, Float[np.ndarray, "example d"]]:
        """Those of examples ``start`` to ``stop`` in each set."""
        if self.features is None:
            return {}
        return {name: one.train[start:stop] for name, one in self.features.sets.items()}


def blocks(vectors: VectorSource, pool: int) -> Iterator[tuple[int, int]]:
    """Where to begin and to end when a pool is gone through in parts that fit into ``CHUNK_BYTES``."""
    size = max(1, min(CHUNK, CHUNK_BYTES // max(1, vectors.width)))
    return ((start, min(start + size, pool)) for start in range(0, pool, size))
