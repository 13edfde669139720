"""First-order changes by gradient products that lie in a file, read some rows of the pool at a time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BlockedRows, rows_at_once
from gptfl.errors import DataError

Rows = Float[np.ndarray, "example test"] | BlockedRows
"""In memory or not."""
SAMPLED = 2048
"""So many rows, evenly over the pool, say what a usual pair is."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of all pairs at a point once they were read: ``place`` is that of the ``largest``, by its size."""

    mean: Float[np.ndarray, " test"]
    squares: float
    largest: float
    place: tuple[int, int]


class NegatedRows(BlockedRows):
    """Minus recorded products, as 32-bit floats."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.shape, self.dtype = rows, (rows.shape[0], rows.shape[1]), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return _negated(self.rows[start:stop])

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """The rows at ascending places."""
        return _negated(self.rows[places])

    @cached_property
    def summary(self) -> Summary | None:
        """What all of them come to, read once; None where one isn't finite."""
        total, squares, largest, place = np.zeros(self.shape[1]), 0.0, -1.0, (0, 0)
        for start, block in self.blocks():
            if not np.isfinite(block).all():
                return None
            whole = block.astype(np.float64)
            total += whole.sum(axis=0)
            squares += float((whole**2).sum())
            at = int(np.abs(block).argmax()) if block.size else 0
            if block.size and abs(float(block.flat[at])) > largest:
                largest = abs(float(block.flat[at]))
                place = start + at // self.shape[1], at % self.shape[1]
        return Summary(total / max(len(self), 1), squares, max(largest, 0.0), place)

    def usual(self) -> float:
        """The median size of some of them."""
        places = np.unique(np.linspace(0, len(self) - 1, SAMPLED).astype(np.int64))
        return float(np.median(np.abs(self.take(places))))


class TakenRows(BlockedRows):
    """Those of training and test examples at some places, in any order; NaN where a place is -1."""

    def __init__(self, rows: Rows, train: Int[np.ndarray, " example"], test: Int[np.ndarray, " test"]) -> None:
        self.rows, self.train, self.test = rows, train, test
        self.shape, self.dtype = (len(train), len(test)), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """The rows at ascending places."""
        found = np.full((len(places), len(self.test)), np.nan, np.float32)
        train = self.train[places]
        row, column = np.flatnonzero(train >= 0), np.flatnonzero(self.test >= 0)
        if len(column):
            # No more rows at once than were asked for in bytes, though all their columns are read.
            count = rows_at_once(4 * self.rows.shape[1])
            for start in range(0, len(row), count):
                some = row[start : start + count]
                found[np.ix_(some, column)] = self.rows[train[some]][:, self.test[column]]
        return found


class FilledRows(BlockedRows):
    """Rows with what others know of the pairs that are unknown in them."""

    def __init__(self, rows: Rows, others: Rows) -> None:
        self.rows, self.others = rows, others
        self.shape, self.dtype = (rows.shape[0], rows.shape[1]), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return _filled(self.rows[start:stop], self.others[start:stop])

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """The rows at ascending places."""
        return _filled(self.rows[places], self.others[places])


class EstimatedRows(BlockedRows):
    """Rows with minus the products of vectors in place of the pairs that are unknown in them."""

    def __init__(self, rows: Rows, train: Rows, test: Float[np.ndarray, "test d"]) -> None:
        self.rows, self.train, self.test = rows, train, test
        self.shape, self.dtype = (rows.shape[0], rows.shape[1]), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """The rows at ascending places."""
        found = np.array(self.rows[places], np.float32)
        fill_unknown(found, self.train, self.test, places)
        return found


class UnreadProducts(BlockedRows):
    """Products that a simulator was fitted to and doesn't keep."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Raises ``DataError``."""
        raise DataError(
            "the simulator keeps no gradient products, and was not given the recording of them",
            "choose the recording with --dynamics, or run gptfl fit again",
        )

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row test"]:
        """Raises ``DataError``."""
        return self.read(0, 0)


def fill_unknown(
    products: Float[np.ndarray, "row test"],
    train: Rows,
    test: Float[np.ndarray, "test d"],
    places: Int[np.ndarray, " row"],
) -> None:
    """Put minus the products of vectors where products are NaN.

    Args:
        products: to be filled.
        train: vectors of training examples.
        test: vectors of the test examples.
        places: which of the training examples each row of products is of.
    """
    count = rows_at_once(4 * max(train.shape[1], len(test)))
    for start in range(0, len(products), count):
        part = products[start : start + count]
        unknown = np.isnan(part)
        row, column = (np.flatnonzero(unknown.any(axis=axis)) for axis in (1, 0))
        if len(row):
            some = np.ix_(row, column)
            ours = -(np.asarray(train[places[start + row]], np.float32) @ test[column].T)
            part[some] = np.where(unknown[some], ours, part[some])


def _negated(rows: Float[np.ndarray, "row test"]) -> Float[np.ndarray, "row test"]:
    with np.errstate(over="ignore"):
        found = np.array(rows, np.float32)
    return np.negative(found, out=found)


def _filled(
    rows: Float[np.ndarray, "row test"], others: Float[np.ndarray, "row test"]
) -> Float[np.ndarray, "row test"]:
    return np.where(np.isnan(rows), others, rows)
