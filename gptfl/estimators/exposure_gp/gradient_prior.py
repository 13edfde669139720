"""What gradients predict, to first order, of what training on one example does to another."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_products import BlockedProducts, all_finite, as_products
from gptfl.core.blocked_rows import BlockedRows, row_blocks
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.prior_rows import FilledRows, NegatedRows, TakenRows, UnreadProducts

KINDS = ("raw", "preconditioned")
SUMS = "exposure-gp: sums of products"
LONE, FEWEST_PAIRS = 0.5, 20
"""A pair that has more than this share of the sum of squares stands alone, where there are more pairs than so many."""


@dataclass(frozen=True, slots=True)
class PriorProducts:
    """The change of each test example's loss for a unit of step size on each training example, to first order.

    That is minus the dot product of their gradients, in ``raw`` as they are, in ``preconditioned`` divided by what
    the optimiser divides by: for each kind an array (point, example, test) at points of a reference run, or
    ``BlockedProducts`` where there are too many for memory. NaN for a pair that wasn't recorded. ``origin`` says of what is
    in blocks by which recorded products it is known.
    """

    kinds: Mapping[str, Vectors]
    origin: str = ""
    memo: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """What was read of all pairs for fits before (``GradientProducts.memo``); None where nothing is kept."""

    @classmethod
    def of(
        cls, steps: Int[np.ndarray, " point"], **products: Float[np.ndarray, "point example test"]
    ) -> "PriorProducts":
        """From gradient products of each kind; the points at which one isn't finite are left out."""
        kinds = {}
        for name in KINDS:
            if isinstance(products[name], BlockedProducts):
                read = [NegatedRows(one) for one in products[name]]
                found = [place for place, one in enumerate(read) if one.summary is not None]
                if found:
                    kinds[name] = Vectors(steps[found], as_products(BlockedProducts([read[place] for place in found])))
                continue
            # A point at a time, since those of a large pool are gigabytes.
            there, rows = [], []
            for place, one in enumerate(products[name]):
                if not all_finite(one):
                    continue
                with np.errstate(over="ignore"):
                    row = np.array(one, np.float32)
                np.negative(row, out=row)
                if np.isfinite(row).all():
                    there.append(place)
                    rows.append(row)
            if there:
                kinds[name] = Vectors(steps[there], rows[0][None] if len(rows) == 1 else np.stack(rows))
        return cls(kinds)

    @property
    def sums(self) -> dict[str, Any] | None:
        """What a memo keeps of runs' sums of these kinds; None where nothing is kept."""
        return None if self.memo is None else self.memo.setdefault(f"{SUMS} {sorted(self.kinds)}", {})

    def matches(self, other: "PriorProducts") -> bool:
        """Whether both have the same kinds at the same points."""
        return {name: one.points.tolist() for name, one in self.kinds.items()} == {
            name: one.points.tolist() for name, one in other.kinds.items()
        }

    @property
    def in_blocks(self) -> bool:
        """Whether products are read some rows at a time."""
        return any(isinstance(one.rows, BlockedProducts) for one in self.kinds.values())

    def in_memory(self) -> "PriorProducts":
        """The same with all products in memory."""
        if not self.in_blocks:
            return self
        return PriorProducts({name: Vectors(one.points, np.asarray(one.rows)) for name, one in self.kinds.items()})

    @property
    def lacking(self) -> bool:
        """Whether products are those of a simulator that wasn't given them again."""
        return any(isinstance(rows, UnreadProducts) for one in self.kinds.values() for rows in one.rows)

    @property
    def whole(self) -> bool:
        """Whether every pair is known; False where that would have to be looked for in a file."""
        return all(map(_is_whole, self.kinds.values()))

    def taken(self, train: Int[np.ndarray, " example"], test: Int[np.ndarray, " test"]) -> "PriorProducts":
        """Those of the examples at these places; a place of -1 is unknown."""
        shapes = {one.rows.shape[1:] for one in self.kinds.values()}
        if shapes == {(len(train), len(test))} and _is_all(train) and _is_all(test):
            return self

        def of(one: Vectors) -> Vectors:
            if isinstance(one.rows, BlockedProducts):
                taken = BlockedProducts([TakenRows(rows, train, test) for rows in one.rows])
                return Vectors(one.points, as_products(taken))
            rows = one.rows[:, train][:, :, test]
            rows[:, train < 0] = np.nan
            rows[:, :, test < 0] = np.nan
            return Vectors(one.points, rows)

        return PriorProducts({name: of(one) for name, one in self.kinds.items()})

    def filled(self, others: "PriorProducts") -> "PriorProducts":
        """With what ``others``, of the same kinds and points, know of the pairs that are unknown here."""

        def of(one: Vectors, more: Vectors) -> Vectors:
            if isinstance(one.rows, BlockedProducts) or isinstance(more.rows, BlockedProducts):
                filled = BlockedProducts([FilledRows(*rows) for rows in zip(one.rows, more.rows, strict=True)])
                return Vectors(one.points, as_products(filled))
            return Vectors(one.points, np.where(np.isnan(one.rows), more.rows, one.rows))

        return PriorProducts({name: of(one, others.kinds[name]) for name, one in self.kinds.items()})

    def of_kinds(self, names: Collection[str]) -> "PriorProducts":
        """Those of some kinds."""
        return replace(self, kinds={name: one for name, one in self.kinds.items() if name in names})

    def ways(self) -> tuple[Vectors, ...]:
        """Each kind as told in two ways: along its points, and by its last one alone.

        Deviations from the average run are an expansion around it, so that the last point may tell more of all steps
        than the one nearest to each (which is what TracIn takes).
        """
        found = []
        for _, one in sorted(self.kinds.items()):
            found.append(one)
            if len(one.points) > 1:
                last = as_products(BlockedProducts([one.rows[-1]])) if _in_blocks(one) else one.rows[-1:]
                found.append(Vectors(one.points[-1:], last))
        return tuple(found)


def lone_pair(expected: Sequence[Vectors], scales: Float[np.ndarray, " way"]) -> tuple[int, int, float] | None:
    """The pair of a training and a test example of which first order says more than of all others together.

    In one of the ways of telling it that the model goes by (a scale above 0), at one of its points: more than half of the
    sum of squares. With it, how many times as large it is as the median. None where there is no such pair.
    """
    for one, scale in zip(expected, scales, strict=True):
        if scale <= 0.0:
            continue
        for point in one.rows:
            if isinstance(point, BlockedRows):
                found = _lone_pair_in_blocks(point)
                if found is not None:
                    return found
                continue
            largest = max(float(point.max(initial=0.0)), -float(point.min(initial=0.0)))
            squares = sum(float((block.astype(np.float64) ** 2).sum()) for _, block in row_blocks(point))
            if point.size > FEWEST_PAIRS and largest**2 > LONE * squares:
                rows = np.abs(point.astype(np.float64))
                train, test = np.unravel_index(int(rows.argmax()), rows.shape)
                return int(train), int(test), largest / max(float(np.median(rows)), 1e-300)
    return None


def _lone_pair_in_blocks(rows: BlockedRows) -> tuple[int, int, float] | None:
    """The same at one point; what is usual is told by some of the pairs."""
    assert isinstance(rows, NegatedRows)  # of the pool fitted
    summary = rows.summary
    if summary is None or rows.size <= FEWEST_PAIRS or summary.largest**2 <= LONE * summary.squares:
        return None
    return *summary.place, summary.largest / max(rows.usual(), 1e-300)


def mean_change(way: Vectors) -> Float[np.ndarray, "point test"]:
    """The mean change over all training examples at each point."""
    if not _in_blocks(way):
        return np.asarray(way.rows.mean(axis=1))
    found = []
    for rows in way.rows:
        summary = rows.summary if isinstance(rows, NegatedRows) else None
        assert summary is not None  # of the pool fitted, and looked through before it was taken
        found.append(summary.mean)
    return np.stack(found)


def _in_blocks(one: Vectors) -> bool:
    return isinstance(one.rows, BlockedProducts)


def _is_whole(one: Vectors) -> bool:
    if isinstance(one.rows, BlockedProducts):
        return all(isinstance(rows, NegatedRows | UnreadProducts) for rows in one.rows)
    return bool(np.isfinite(one.rows).all())


def _is_all(places: Int[np.ndarray, " place"]) -> bool:
    """Whether these are all places up to their number, in order."""
    return bool(np.array_equal(places, np.arange(len(places))))
