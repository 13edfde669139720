"""Gradient products of imported sketches, which are computed some rows of the pool at a time where they are many."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, GradientProducts, Run, SketchPoint
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows, row_blocks, rows_at_once
from gptfl.recording.gradient_request import products_bytes
from gptfl.store.safety import MAX_BYTES

AT_ONCE = 2**22
"""Products of one kind that are fewer numbers are computed at once, and packed in their file."""


def products_of(
    points: Sequence[SketchPoint], kept: Int[np.ndarray, " kept"], learning_rates: Float[np.ndarray, " step"]
) -> GradientProducts:
    """Inner products of the sketches, which estimate those of the gradients.

    Those of pairs are ``BlockedProducts`` where they are ``AT_ONCE`` or more. The seed of the reference run is not known
    and told as 0.

    Args:
        points: the sketches at each point of the reference run.
        kept: places of the test examples that were imported.
        learning_rates: of the reference run.
    """
    raw, divided, own_raw, own = [], [], [], []
    for point in points:
        pool, test = len(point.train), np.asarray(point.test[kept])
        raw.append(SketchedRows(point.train, test))
        own_raw.append(_own(point.train, point.train))
        if point.preconditioned is None:
            divided.append(SketchedRows(None, test, pool))
            own.append(np.full(pool, np.nan, dtype=own_raw[-1].dtype))
        else:
            divided.append(SketchedRows(point.preconditioned, test))
            own.append(_own(point.preconditioned, point.train))
    steps = np.array([point.step for point in points], dtype=np.int64)
    found = GradientProducts(
        0,
        steps,
        learning_rates,
        as_products(BlockedProducts(raw)),
        as_products(BlockedProducts(divided)),
        np.stack(own_raw),
        np.stack(own),
    )
    return found if found.raw.size >= AT_ONCE else found.in_memory()


class SketchedRows(BlockedRows):
    """Inner products of sketches of the pool with those of some test examples; NaN where there are none of the pool."""

    def __init__(
        self, train: Float[np.ndarray, "pool d"] | None, test: Float[np.ndarray, "test d"], pool: int = 0
    ) -> None:
        """Of sketches in memory or not; ``pool`` is how many examples there are that have none."""
        self.train, self.test = train, test
        self.shape = (pool if train is None else len(train), len(test))
        self.dtype = test.dtype if train is None else np.result_type(train.dtype, test.dtype)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``; sketches are read no more at once than rows of products are."""
        if self.train is None:
            return np.full((stop - start, self.shape[1]), np.nan, self.dtype)
        found = np.empty((stop - start, self.shape[1]), self.dtype)
        count = rows_at_once(self.test.shape[1] * self.train.dtype.itemsize)
        for first in range(start, stop, count):
            last = min(first + count, stop)
            np.matmul(np.asarray(self.train[first:last]), self.test.T, out=found[first - start : last - start])
        return found


def _own(one: Float[np.ndarray, "pool d"], other: Float[np.ndarray, "pool d"]) -> Float[np.ndarray, " pool"]:
    """The product of each row with the other's of the same place."""
    found = np.empty(len(one), np.result_type(one.dtype, other.dtype))
    for start, rows in row_blocks(one):
        beside = rows if other is one else np.asarray(other[start : start + len(rows)])
        np.einsum("pd,pd->p", rows, beside, out=found[start : start + len(rows)])
    return found


def too_large(points: int, runs: Sequence[Run], pool: Sequence[Example], test: Sequence[Example]) -> str | None:
    """Why products aren't kept: with all else they would make a file that gptfl doesn't read. None where they don't.

    Args:
        points: at how many points there are products.
        runs: recorded with them.
        pool: the training examples.
        test: the test examples.
    """
    needed = products_bytes(points, len(pool), len(test))
    beside = sum(
        sum(one.nbytes for one in (run.curriculum.batches, run.curriculum.learning_rates, *run.metrics.values()))
        for run in runs
    )
    # A character takes four bytes at most, and is kept twice of a conversation; what else is kept of an example is some hundred.
    beside += sum(8 * (len(one.prompt) + len(one.target)) + 1000 for one in (*pool, *test))
    if needed + beside <= MAX_BYTES:
        return None
    return (
        f"products of {len(pool):,} x {len(test):,} gradients at {points} points take {needed / 2**30:.3g} GiB and aren't "
        f"kept, since gptfl reads recordings of up to {MAX_BYTES / 2**30:g} GiB: exposure-gp goes by the sketches, and so do "
        "tracin-cp and grad-dot with sketches=true"
    )
