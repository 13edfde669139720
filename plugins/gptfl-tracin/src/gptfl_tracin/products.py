"""Gradient products at one point of a reference run: an array, rows in a file, or those of sketches, computed as they're read.

Whatever they are, no more of them is in memory than ``BLOCK_BYTES`` at once, an array that was given aside.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import blocked_rows
from gptfl.core.blocked_rows import BlockedRows, row_blocks, rows_at_once
from gptfl.plugins import DataError

Products = Float[np.ndarray, "pool test"] | BlockedRows


class SketchedProducts(BlockedRows):
    """Dot products of sketches, which estimate those of gradients: multiplied when they are asked for."""

    def __init__(self, train: Float[np.ndarray, "pool d"] | BlockedRows, test: Float[np.ndarray, "test d"]) -> None:
        self.train, self.test = train, test.astype(np.float32)
        self.shape, self.dtype = (train.shape[0], len(test)), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return np.asarray(np.asarray(self.train[start:stop], np.float32) @ self.test.T)

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """The rows at ascending places."""
        return np.asarray(np.asarray(self.train[places], np.float32) @ self.test.T)

    def blocks(self, count: int | None = None) -> Iterator[tuple[int, Float[np.ndarray, "row test"]]]:
        """As ``BlockedRows`` has it, of no more rows than of whose sketches as many bytes are in memory."""
        yield from super().blocks(count or rows_at_once(4 * max(self.shape[1], self.train.shape[1])))


class ProductsElsewhere(BlockedRows):
    """Products that a simulator was fitted to and doesn't keep."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Raises ``DataError``."""
        raise DataError(
            "the simulator keeps no gradient products, and was not given what they are read from",
            "open it beside its recording and features",
        )

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """Raises ``DataError``."""
        return self.read(0, 0)


def weighted_sums(products: Products, weights: Any) -> Float[np.ndarray, "place test"]:
    """Sums of rows, each row times a weight; rows that have none aren't read.

    Args:
        products: of a pool with test examples.
        weights: scipy's sparse array (place, pool).
    """
    if isinstance(products, SketchedProducts):
        # Sums of sketches take no array as wide as the test set, and far fewer products.
        sums = _sums(products.train, weights, products.train.shape[1])
        return np.asarray(sums @ products.test.T.astype(np.float64))
    return _sums(products, weights, products.shape[1])


def _sums(rows: Products, weights: Any, width: int) -> Float[np.ndarray, "place column"]:
    by_row = weights.tocsc()
    seen = np.flatnonzero(np.diff(by_row.indptr))
    found = np.zeros((weights.shape[0], width))
    count = max(1, blocked_rows.BLOCK_BYTES // (8 * max(1, width)))
    for start in range(0, len(seen), count):
        some = seen[start : start + count]
        part = by_row[:, some].tocsr()
        place = np.flatnonzero(np.diff(part.indptr))
        found[place] += part[place] @ np.asarray(rows[some], np.float64)
    return found


def on_mean(products: Products, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " pool"]:
    """The mean of each row over some test examples, each of which counts as often as it is named."""
    if isinstance(products, SketchedProducts):
        mean = products.test[tests].mean(axis=0, dtype=np.float64)
        return np.concatenate([np.asarray(block, np.float64) @ mean for _, block in row_blocks(products.train)])
    return np.concatenate([block[:, tests].mean(axis=1, dtype=np.float64) for _, block in blocks_of(products)])


def blocks_of(products: Products) -> Iterator[tuple[int, Float[np.ndarray, "row test"]]]:
    """All rows in order, some at a time, each time with the place of the first."""
    return row_blocks(products)


def largest_share(products: Products) -> float:
    """How much of the sum of squares the largest product has; 0 where all are 0."""
    largest = total = 0.0
    for _, block in blocks_of(products):
        squares = np.square(block, dtype=np.float64)
        largest, total = max(largest, float(squares.max(initial=0.0))), total + float(squares.sum())
    return largest / total if total > 0 else 0.0
