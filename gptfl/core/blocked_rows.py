"""Rows of vectors that are too many for memory, read some at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.errors import DataError

BLOCK_BYTES = 2**24
"""So many bytes of rows are in memory at once, whoever reads them."""


class BlockedRows(ABC):
    """An array of two axes whose rows are read when they are asked for: one, a slice, or places in any order.

    What needs all of it at once gets it through ``numpy.asarray``, at the price of its whole size.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    ndim = 2
    digest: str | None = None
    """What their file says by which they are known; None where it says nothing, or they are not all of its rows."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``, both within the array."""

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places, each at most once; reads what lies between them, some at a time."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        most = rows_at_once(self.shape[1] * self.dtype.itemsize)
        for number in np.unique(places // most).tolist():
            first, last = np.searchsorted(places, (number * most, (number + 1) * most))
            begin = int(places[first])
            found[first:last] = self.read(begin, int(places[last - 1]) + 1)[places[first:last] - begin]
        return found

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """How many bytes all rows take."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, key: "int | slice | Int[np.ndarray, ' row']") -> Float[np.ndarray, "*row d"]:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self.read(start, max(start, stop))
            return self[np.arange(start, stop, step)]
        places = np.asarray(key)
        if places.ndim == 0 and places.dtype.kind in "iu":
            return np.asarray(self[places[None]][0])
        if places.ndim != 1 or places.dtype.kind not in "iub":
            raise TypeError("rows are taken by a whole number, a slice or an array of whole numbers")
        if places.dtype.kind == "b":
            places = np.flatnonzero(places)
        if len(places) and not (-len(self) <= places.min() and places.max() < len(self)):
            raise IndexError(f"row {places.max()} of {len(self)}")
        distinct, back = np.unique(np.where(places < 0, places + len(self), places), return_inverse=True)
        return self.take(distinct)[back]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows that lie in a file can't be had without a copy")
        # Some at a time, so that no more than what is asked for is in memory, whatever a reading takes.
        found = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for start, rows in self.blocks():
            found[start : start + len(rows)] = rows
        return found

    def blocks(self, count: int | None = None) -> Iterator[tuple[int, Float[np.ndarray, "row d"]]]:
        """All rows in order, some at a time, each time with the place of the first.

        Args:
            count: how many rows at a time; None for as many as fit into ``BLOCK_BYTES``.
        """
        count = count or rows_at_once(self.shape[1] * self.dtype.itemsize)
        for start in range(0, len(self), count):
            yield start, self.read(start, min(start + count, len(self)))


class ChosenRows(BlockedRows):
    """Some rows of others, in ascending order of their places."""

    def __init__(self, rows: BlockedRows, places: Int[np.ndarray, " kept"]) -> None:
        self.rows, self.places = rows, places
        self.shape, self.dtype = (len(places), rows.shape[1]), rows.dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop`` of those chosen."""
        return self.rows.take(self.places[start:stop])

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places among those chosen."""
        return self.rows.take(self.places[places])


class StackedRows(BlockedRows):
    """Rows that aren't in memory, and further ones that are after them."""

    def __init__(self, rows: BlockedRows, more: Float[np.ndarray, "new d"]) -> None:
        self.rows, self.more = rows, more
        self.shape, self.dtype = (len(rows) + len(more), rows.shape[1]), np.result_type(rows.dtype, more.dtype)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop`` of both."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places in both."""
        first = int(np.searchsorted(places, len(self.rows)))
        return np.concatenate([self.rows.take(places[:first]), self.more[places[first:] - len(self.rows)]]).astype(
            self.dtype, copy=False
        )


class GatheredRows(BlockedRows):
    """Rows of which each is one of several arrays', in memory or out of it."""

    def __init__(
        self,
        sources: "Sequence[Float[np.ndarray, 'row d'] | BlockedRows]",
        source: Int[np.ndarray, " row"],
        row: Int[np.ndarray, " row"],
        dtype: np.dtype[Any],
    ) -> None:
        """The rows at places ``row`` of the arrays ``source``, as numbers of a ``dtype``; all arrays are equally wide."""
        self.sources, self.source, self.row = sources, source, row
        self.shape, self.dtype = (len(row), sources[0].shape[1]), dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        source = self.source[places]
        for number in np.unique(source).tolist():
            mine = source == number
            found[mine] = self.sources[number][self.row[places[mine]]]
        return found


class ScaledRows(BlockedRows):
    """Rows of which each is multiplied by a number of its own."""

    def __init__(self, rows: BlockedRows, by: Float[np.ndarray, " row"]) -> None:
        self.rows, self.by, self.shape, self.dtype = rows, by, rows.shape, rows.dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``."""
        return np.asarray(self.rows.read(start, stop) * self.by[start:stop, None])

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places."""
        return np.asarray(self.rows.take(places) * self.by[places, None])


class Elsewhere(BlockedRows):
    """Vectors that a simulator was fitted to and doesn't keep."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Raises ``DataError``."""
        raise DataError(
            "the simulator keeps no vectors of the training examples, and was not given the file of them",
            "give --features, or fit with --embed-features",
        )

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """Raises ``DataError``."""
        return self.read(0, 0)


def stacked_rows(
    rows: Float[np.ndarray, "row d"], more: Float[np.ndarray, "new d"]
) -> Float[np.ndarray, "row_and_new d"]:
    """Rows and further ones after them; of ``BlockedRows``, again ``BlockedRows``."""
    return as_array(StackedRows(rows, more)) if isinstance(rows, BlockedRows) else np.concatenate([rows, more])


def chosen(rows: Float[np.ndarray, "row d"], places: Int[np.ndarray, " kept"]) -> Float[np.ndarray, "kept d"]:
    """The rows at ascending places; of ``BlockedRows``, again ``BlockedRows``."""
    if not isinstance(rows, BlockedRows):
        return np.asarray(rows[places])
    return rows if len(places) == len(rows) else as_array(ChosenRows(rows, places))


def as_array(rows: BlockedRows) -> Float[np.ndarray, "row d"]:
    """The same rows, for the type checker an array: who gets one where it may be either asks by ``isinstance``."""
    return rows  # type: ignore[return-value]


def whole_digest(rows: Float[np.ndarray, "row d"]) -> str | None:
    """By what rows are known that lie in a file, all of them or some; None of rows in memory, or of no such file."""
    if isinstance(rows, ChosenRows):
        return rows.rows.digest
    return rows.digest if isinstance(rows, BlockedRows) else None


def rows_at_once(width: int) -> int:
    """How many rows of so many bytes fit into ``BLOCK_BYTES``, at least one."""
    return max(1, BLOCK_BYTES // max(1, width))


def row_blocks(
    rows: "Float[np.ndarray, 'row d'] | BlockedRows", count: int | None = None
) -> Iterator[tuple[int, Float[np.ndarray, "block d"]]]:
    """The rows of an array in memory or out of it, some at a time, each time with the place of the first.

    Args:
        rows: all of them.
        count: how many at a time; None for as many as fit into ``BLOCK_BYTES``.
    """
    if isinstance(rows, BlockedRows):
        yield from rows.blocks(count)
        return
    count = count or rows_at_once(rows.shape[1] * rows.dtype.itemsize)
    for start in range(0, len(rows), count):
        yield start, rows[start : start + count]
