"""The vectors of a pool that aren't all in memory: those of the examples that batches hold are read, and their sums kept.

A factor is linear in what the last layer of the training side sees, so that of an interval's examples no more than the
sum of that is needed. A recording has far fewer intervals than such a pool has examples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core.blocked_rows import BlockedRows, rows_at_once
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.batches import IntervalCounts
from gptfl.estimators.gptfluence.projection import Form, project
from gptfl.estimators.gptfluence.vectors import Standard

HELD_BYTES = 2**29
"""Vectors of a fit's examples stay in memory up to so many bytes, as they are stored; more are read again each time."""


@dataclass(frozen=True, slots=True)
class PoolRows:
    """A pool's vectors, in memory or not, which are standardised as they are read."""

    rows: BlockedRows | Float[np.ndarray, "pool d"]
    standard: Standard

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors there are, and how many numbers each has."""
        return self.rows.shape[0], self.rows.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, places: Int[np.ndarray, " row"]) -> Float[Tensor, "row d"]:
        """The standardised vectors at ascending places. Raises ``DataError`` where one isn't finite."""
        found = np.asarray(self.rows[places])
        if not np.isfinite(found).all():
            raise DataError("a vector of the pool holds numbers that aren't finite", "featurize again")
        return self.standard(found)


def standardised(
    vectors: BlockedRows | Float[np.ndarray, "pool d"], standard: Standard
) -> Float[Tensor, "pool d"] | PoolRows:
    """A pool's vectors, standardised now or, where they aren't in memory, as they are read."""
    return PoolRows(vectors, standard) if isinstance(vectors, BlockedRows) else standard(vectors)


class SummedRows:
    """What intervals sum up of a pool's vectors and of what a hidden layer makes of them."""

    def __init__(self, rows: PoolRows, counts: IntervalCounts) -> None:
        """``counts`` says how much each example counts in each interval."""
        from scipy.sparse import csc_array

        members, interval = counts.members.numpy(), counts.rows().numpy()
        weights = np.ones(len(members)) if counts.weights is None else counts.weights.numpy()
        self.seen, column = np.unique(members, return_inverse=True)
        shape = (len(counts.sizes), len(self.seen))
        self.matrix = csc_array((weights.astype(np.float32), (interval, column)), shape=shape)
        self.totals = counts.totals().to(torch.float32)
        self.rows = rows
        stored = len(self.seen) * rows.shape[1] * rows.rows.dtype.itemsize
        if stored <= HELD_BYTES:
            held = np.asarray(rows.rows[self.seen])
            self.rows, self.seen = replace(rows, rows=held), np.arange(len(held))
        self.sums: Tensor | None = None

    def pieces(self, factors: int = 1) -> Iterator[tuple[Float[Tensor, "row d"], Any]]:
        """The vectors of all examples that occur, some at a time, each time with their counts by interval.

        ``factors`` is how many times as much is made of them.
        """
        count = rows_at_once(4 * self.rows.shape[1] * factors)
        for start in range(0, len(self.seen), count):
            stop = min(start + count, len(self.seen))
            yield self.rows.read(self.seen[start:stop]), self.matrix[:, start:stop].tocsr()

    def project(self, form: Form, parameters: Mapping[str, Tensor]) -> Float[Tensor, "factor interval width"]:
        """The sums of the examples' projections, as a function of the parameters."""
        side = form.sides[0]
        weight, bias = parameters[f"{side}.out.weight"], parameters[f"{side}.out.bias"]
        if f"{side}.hidden.weight" in parameters:
            hidden: tuple[Tensor, Tensor] = (parameters[f"{side}.hidden.weight"], parameters[f"{side}.hidden.bias"])
            inner = _SummedHidden.apply(*hidden, self)  # type: ignore[no-untyped-call]
        else:
            if self.sums is None:
                self.sums = _added(self, lambda rows: rows[None], 1)[0]
            inner = self.sums.expand(len(weight), *self.sums.shape)
        return torch.baddbmm(self.totals[None, :, None] * bias, inner, weight)


class _SummedHidden(torch.autograd.Function):
    """Sums of a hidden layer's output over the examples of every interval; nothing by example outlives its piece."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, sums: SummedRows) -> Tensor:
        ctx.save_for_backward(weight, bias)
        ctx.sums = sums
        return _added(sums, lambda rows: _layer(rows, weight, bias).relu_(), len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight, bias), above = ctx.saved_tensors, gradients[0].contiguous().numpy()
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for rows, matrix in ctx.sums.pieces(len(weight)):
            below = torch.from_numpy(np.stack([matrix.T @ one for one in above]))
            below *= _layer(rows, weight, bias) > 0
            of_weight += rows.T @ below
            of_bias += below.sum(dim=1, keepdim=True)
        return of_weight, of_bias, None


def _layer(
    rows: Float[Tensor, "row d"], weight: Float[Tensor, "factor d inner"], bias: Float[Tensor, "factor one inner"]
) -> Float[Tensor, "factor row inner"]:
    return torch.baddbmm(bias, rows.expand(len(weight), *rows.shape), weight)


def _added(sums: SummedRows, made: Any, factors: int) -> Float[Tensor, "factor interval inner"]:
    """What is ``made`` of the vectors for each factor, added up over every interval."""
    total: np.ndarray | None = None
    for rows, matrix in sums.pieces(factors):
        found = np.stack([matrix @ one for one in made(rows).numpy()])
        total = found if total is None else np.add(total, found, out=total)
    if total is None:
        raise DataError("no batch holds any example between the recorded steps", "record at least one step")
    return torch.from_numpy(total)


class SummedSides:
    """Both sides of a fit whose pool isn't in memory: in the place of its examples stand the intervals of its runs.

    Counts are handed in one after the other (``place``), before anything is projected.
    """

    def __init__(self, form: Form, rows: PoolRows, test: Float[Tensor, "test d"]) -> None:
        self.form, self.rows, self.test = form, rows, test
        self._placed: list[IntervalCounts] = []
        self._sums: SummedRows | None = None

    def place(self, counts: IntervalCounts) -> IntervalCounts:
        """The same intervals, each of which holds nothing but itself."""
        begin = sum(len(one.sizes) for one in self._placed)
        self._placed.append(counts)
        own = torch.arange(len(counts.sizes))
        return IntervalCounts(begin + own, own, torch.ones_like(own))

    @property
    def intervals(self) -> int:
        """How many have been handed in."""
        return sum(len(one.sizes) for one in self._placed)

    def project(self, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Both sides' projections, the training side's summed: (factor, interval, width) and (factor, test, width)."""
        if self._sums is None:
            self._sums = SummedRows(self.rows, _one_after_another(self._placed))
        return self._sums.project(self.form, parameters), project(self.test, parameters, self.form.sides[1])


def _one_after_another(parts: list[IntervalCounts]) -> IntervalCounts:
    """The members of several count matrices in one; for how many examples an interval counts is left out."""
    weights = [
        torch.ones(len(part.members), dtype=torch.float64) if part.weights is None else part.weights for part in parts
    ]
    sizes = torch.cat([part.sizes for part in parts])
    members = torch.cat([part.members for part in parts])
    return IntervalCounts(members, torch.cumsum(sizes, 0) - sizes, sizes, torch.cat(weights))


@dataclass(frozen=True, slots=True)
class PoolProjection:
    """The projections of a pool that isn't in memory, of which sums can be had."""

    rows: PoolRows
    form: Form
    parameters: dict[str, Tensor]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Factors, examples, width."""
        return self.form.factor, len(self.rows), self.form.width

    dtype = torch.float32

    def __len__(self) -> int:
        return self.form.factor

    def summed(self, counts: IntervalCounts) -> Float[Tensor, "factor interval width"]:
        """The sums over the examples of every interval."""
        if not len(counts.members):
            return torch.zeros(self.form.factor, len(counts.sizes), self.form.width)
        return SummedRows(self.rows, counts).project(self.form, self.parameters)

    def at(self, places: Int[np.ndarray, " row"]) -> Float[Tensor, "factor row width"]:
        """Those of the examples at ascending places."""
        return project(self.rows.read(places), self.parameters, self.form.sides[0])
