"""From batches and recorded steps to what each step of the recurrence saw, as a sparse count matrix.

Recordings may be kept every k-th step. One step of the recurrence goes from one recorded point to the
next, and its "batch" is every example of the batches in between, as often as it occurred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core.curriculum import presentation_weights
from gptfl.errors import DataError


@dataclass(frozen=True, slots=True)
class IntervalCounts:
    """A sparse (interval x pool) count matrix: interval k holds ``members[starts[k] : starts[k] + sizes[k]]``.

    An example that occurred twice is listed twice. Runs follow one another, each in order of time. ``weights``,
    where there are any, say how much each member counts; without them all count 1. ``amounts``, where there are any,
    are how many examples each interval counts for, whatever the step sizes; without them as many as it holds.
    """

    members: Int[Tensor, " member"]
    starts: Int[Tensor, " interval"]
    sizes: Int[Tensor, " interval"]
    weights: Float[Tensor, " member"] | None = None
    amounts: Float[Tensor, " interval"] | None = None

    def dense(self, pool: int) -> Int[Tensor, "interval pool"] | Float[Tensor, "interval pool"]:
        """The same as a dense matrix."""
        rows = self.rows()
        each = torch.ones_like(rows) if self.weights is None else self.weights
        return torch.zeros(len(self.sizes), pool, dtype=each.dtype).index_put_(
            (rows, self.members), each, accumulate=True
        )

    def totals(self) -> Float[Tensor, " interval"]:
        """The weights of each interval's members together; without weights, how many there are."""
        if self.weights is None:
            return self.sizes.to(torch.float32)
        return self.weights.new_zeros(len(self.sizes)).index_add_(0, self.rows(), self.weights)

    def amount(self) -> Int[Tensor, " interval"] | Float[Tensor, " interval"]:
        """How many examples each interval counts for."""
        return self.sizes if self.amounts is None else self.amounts

    def rows(self) -> Int[Tensor, " member"]:
        """The interval of each member."""
        return torch.repeat_interleave(torch.arange(len(self.sizes)), self.sizes)

    def turned(self, pool: int) -> "IntervalCounts":
        """The transposed matrix: for every pool example, the intervals that saw it, as often as they did."""
        sizes = torch.bincount(self.members, minlength=pool)
        order = torch.argsort(self.members, stable=True)
        weights = None if self.weights is None else self.weights[order]
        return IntervalCounts(self.rows()[order], torch.cumsum(sizes, 0) - sizes, sizes, weights)


def interval_counts(
    batches: Int[np.ndarray, "run step batch"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
    weights: Float[np.ndarray, "run step"] | None = None,
    usual: int | None = None,
    relative: Float[np.ndarray, " pool"] | None = None,
) -> IntervalCounts:
    """What each of the ``recorded - 1`` intervals of every run saw; padding (-1) counts for nothing.

    Args:
        batches: ``batches[r, s]`` is the batch that leads from step s to step s + 1.
        steps: recorded steps, ascending.
        pool: how many examples there are.
        weights: how much each member of ``batches[r, s]`` counts (1 unless given).
        usual: the usual number of examples in a batch: the members of every batch together count as much as those of
            such
            a one, each by its share. None where each counts alone.
        relative: the examples' ``relative_weights``, None where they count alike.

    Raises ``DataError`` where the batches end before the last recorded step or name an example that the pool lacks.
    """
    first, last = int(steps[0]), int(steps[-1])
    if last > batches.shape[1]:
        raise DataError(
            f"the batches end at step {batches.shape[1]}, before step {last}", "give a batch for every step"
        )
    if np.any(np.diff(steps) <= 0):
        raise DataError("the recorded steps don't ascend", "list each step once, in order")
    seen = batches[:, first:last]
    if seen.size and int(seen.max()) >= pool:
        raise DataError(f"a batch names example {int(seen.max())} of a pool of {pool}", "count from 0")
    present = seen >= 0
    edges = np.asarray(steps[:-1], dtype=np.int64) - first
    a_step = present.sum(axis=2)
    sizes = np.add.reduceat(a_step, edges, axis=1) if len(edges) else np.zeros((len(batches), 0), dtype=np.int64)
    flat, amounts = sizes.reshape(-1).astype(np.int64), None
    if usual is not None and (relative is not None or (a_step[a_step > 0] != usual).any()):
        each = presentation_weights(seen, np.full(a_step.shape, float(usual)), relative)
        weights = np.zeros(batches.shape[:2]) + (1.0 if weights is None else weights)
        weights[:, first:last] *= each
        filled = (
            np.add.reduceat((a_step > 0) * float(usual), edges, axis=1) if len(edges) else np.zeros((len(batches), 0))
        )
        amounts = torch.from_numpy(filled.reshape(-1))
    shared = None
    if weights is not None:
        shared = np.broadcast_to(weights[:, first:last, None], seen.shape)[present].astype(np.float64)
        shared = shared if relative is None else shared * relative[seen[present]]
    return IntervalCounts(
        amounts=amounts,
        members=torch.from_numpy(seen[present].astype(np.int64)),
        starts=torch.from_numpy(np.cumsum(flat) - flat),
        sizes=torch.from_numpy(flat),
        weights=None if shared is None else torch.from_numpy(shared),
    )


def join(parts: list[IntervalCounts]) -> IntervalCounts:
    """The intervals of several count matrices, one after another, weighted where any of them is."""
    sizes = torch.cat([part.sizes for part in parts])
    weighted = any(part.weights is not None for part in parts)
    ones = [
        torch.ones(len(part.members), dtype=torch.float64) if part.weights is None else part.weights for part in parts
    ]
    return IntervalCounts(
        torch.cat([part.members for part in parts]),
        torch.cumsum(sizes, 0) - sizes,
        sizes,
        torch.cat(ones) if weighted else None,
        torch.cat([part.amount() for part in parts]) if any(part.amounts is not None for part in parts) else None,
    )


def usual_batch(batches: Sequence[Int[np.ndarray, "step batch"]]) -> int | None:
    """How many examples the batches of some runs hold most often, empty ones aside; None where all are empty."""
    filled = np.concatenate([(one >= 0).sum(axis=1) for one in batches])
    return int(np.bincount(filled[filled > 0]).argmax()) if filled.any() else None


def modal_size(counts: IntervalCounts) -> int:
    """For how many examples an interval counts most often (the smallest such number, intervals of none aside).

    Raises ``DataError`` where no interval holds any.
    """
    sizes = counts.amount().round().long()[counts.sizes > 0]
    if len(sizes) == 0:
        raise DataError("no batch holds any example between the recorded steps", "record at least one step")
    return int(torch.bincount(sizes).argmax())
