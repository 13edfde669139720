"""The rows most alike to each row, and how far a row is from what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.features.vectors import VectorSource, blocks

NEAREST = 10
"""So many neighbours of each row count, as far as there are."""
MAX_BYTES = 2**31
"""The vectors of all rows take at most so much memory."""
MOST_ROWS = 20_000
"""Of more rows than that neighbours aren't looked for: the time it takes goes with their square."""
BLOCK = 512
"""So many rows are held against all at once."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The places of the rows most alike to each one, and their cosines, 0 where negative."""

    places: Int[np.ndarray, "row near"]
    cosines: Float[np.ndarray, "row near"]

    def mean(self, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """The mean of a value over each row's neighbours, weighed by likeness; over all rows where nothing is alike."""
        total = self.cosines.sum(axis=1)
        found = (self.cosines * values[self.places]).sum(axis=1)
        return np.asarray(np.where(total > 0.0, found / np.where(total > 0.0, total, 1.0), values.mean()))

    def other_label(self, labels: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """How much of a row's neighbourhood, weighed by likeness, has another label than the row."""
        total = self.cosines.sum(axis=1)
        differs = (self.cosines * (labels[self.places] != labels[:, None])).sum(axis=1)
        usual = 1.0 - np.bincount(labels)[labels] / len(labels)
        return np.asarray(np.where(total > 0.0, differs / np.where(total > 0.0, total, 1.0), usual))

    @property
    def apart(self) -> Float[np.ndarray, " row"]:
        """How unlike each row is to its nearest ones: 1 less the mean cosine."""
        return np.asarray(1.0 - self.cosines.mean(axis=1))


def unit_vectors(vectors: VectorSource, pool: int, centred: bool = True) -> list[Float[np.ndarray, "row d"]] | None:
    """The vectors of all rows in each set, scaled to length 1 (0 where one has none); None where they take too much.

    ``centred`` says whether the pool's mean is taken off before.
    """
    if vectors.width == 0 or vectors.width * pool > MAX_BYTES or pool > MOST_ROWS:
        return None
    parts: dict[str, list[Float[np.ndarray, "row d"]]] = {}
    for start, stop in blocks(vectors, pool):
        for name, one in vectors.rows(start, stop).items():
            parts.setdefault(name, []).append(np.asarray(one, dtype=np.float32))
    found = []
    for several in parts.values():
        whole = np.concatenate(several)
        moved = whole - whole.mean(axis=0) if centred else whole
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        found.append(moved / np.where(lengths > 0.0, lengths, 1.0))
    return found


def nearest(units: Sequence[Float[np.ndarray, "row d"]], count: int = NEAREST) -> Neighbours:
    """The ``count`` rows most alike to each one by the mean cosine over the sets, most alike first."""
    rows = len(units[0])
    count = max(1, min(count, rows - 1))
    places, cosines = np.zeros((rows, count), dtype=np.int64), np.zeros((rows, count))
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        like = np.zeros((stop - start, rows))
        for one in units:
            like += one[start:stop] @ one.T / len(units)
        like[np.arange(stop - start), np.arange(start, stop)] = -np.inf  # no row is its own neighbour
        order = np.sort(np.argpartition(-like, count - 1, axis=1)[:, :count], axis=1)
        closest = np.argsort(-np.take_along_axis(like, order, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(order, closest, axis=1)
        places[start:stop] = order
        cosines[start:stop] = np.maximum(np.take_along_axis(like, order, axis=1), 0.0)
    return Neighbours(places, np.where(np.isfinite(cosines), cosines, 0.0))
