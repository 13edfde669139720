"""Products of pairs of examples that are too many for memory, read some rows of the pool at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BlockedRows, as_array, chosen, row_blocks


class BlockedProducts:
    """An array (point, example, test) whose rows are read when they are asked for: at each point ``BlockedRows``.

    What needs all of it at once gets it through ``numpy.asarray``, at the price of its whole size.
    """

    ndim = 3

    def __init__(self, points: Sequence[BlockedRows]) -> None:
        """``points`` are equally large, one at least."""
        self.points = tuple(points)
        self.shape = (len(self.points), *self.points[0].shape)
        self.dtype: np.dtype[Any] = self.points[0].dtype

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, place: int) -> BlockedRows:
        return self.points[place]

    def __iter__(self) -> Iterator[BlockedRows]:
        return iter(self.points)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.points) * self.points[0].size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("products that lie in a file can't be had without a copy")
        found = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for place, one in enumerate(self.points):
            for start, rows in one.blocks():
                found[place, start : start + len(rows)] = rows
        return found

    def blocks(self) -> Iterator[Float[np.ndarray, "row test"]]:
        """All rows in order, point after point, some at a time."""
        for one in self.points:
            for _, rows in one.blocks():
                yield rows

    def of_examples(self, pool: Int[np.ndarray, " kept"], tests: Int[np.ndarray, " chosen"]) -> "BlockedProducts":
        """Those of the training examples at ascending places, and of some test examples."""
        return BlockedProducts([ChosenColumns(_chosen(one, pool), tests) for one in self.points])


class ChosenColumns(BlockedRows):
    """Some columns of rows, in any order."""

    def __init__(self, rows: BlockedRows, columns: Int[np.ndarray, " chosen"]) -> None:
        self.rows, self.columns = rows, columns
        self.shape, self.dtype = (len(rows), len(columns)), rows.dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row chosen"]:
        """Rows ``start`` to ``stop``."""
        return self.rows.read(start, stop)[:, self.columns]

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row chosen"]:
        """The rows at ascending places."""
        return self.rows.take(places)[:, self.columns]


class JoinedColumns(BlockedRows):
    """Rows of which several arrays have some columns each."""

    def __init__(self, parts: Sequence[tuple[BlockedRows, Int[np.ndarray, " column"]]]) -> None:
        """Arrays of equally many rows, each with the places that its columns take; all together they take every one."""
        self.parts = tuple(parts)
        rows, _ = self.parts[0]
        self.shape, self.dtype = (len(rows), sum(len(columns) for _, columns in self.parts)), rows.dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row column"]:
        """Rows ``start`` to ``stop``."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row column"]:
        """The rows at ascending places."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        for rows, columns in self.parts:
            found[:, columns] = rows.take(places)
        return found


class UnknownRows(BlockedRows):
    """Rows of which nothing is known: all NaN."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``."""
        return np.full((stop - start, self.shape[1]), np.nan, self.dtype)


def _chosen(rows: BlockedRows, places: Int[np.ndarray, " kept"]) -> BlockedRows:
    found = chosen(as_array(rows), places)
    assert isinstance(found, BlockedRows)  # of blocked rows it is
    return found


def as_products(products: BlockedProducts) -> Float[np.ndarray, "point pool test"]:
    """The same products, for the type checker an array: who gets one where it may be either asks by ``isinstance``."""
    return products  # type: ignore[return-value]


def any_finite(products: Float[np.ndarray, "point pool test"]) -> bool:
    """Whether any product is a number; reads some rows at a time."""
    return any(bool(np.isfinite(rows).any()) for one in products for _, rows in row_blocks(one))


def all_finite(products: Float[np.ndarray, "pool test"] | BlockedRows) -> bool:
    """Whether all products at a point are numbers; reads some rows at a time, to the first that aren't."""
    return all(bool(np.isfinite(rows).all()) for _, rows in row_blocks(products))
