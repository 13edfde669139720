"""From batches and recorded steps to what each step of the recurrence saw, as a sparse count matrix.

Recordings may be kept every k-th step. One step of the recurrence goes from one recorded point to the
next, and its "batch" is every example of the batches in between, as often as it occurred.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.errors import DataError


@dataclass(frozen=True, slots=True)
class Counts:
    """A sparse (interval x pool) count matrix: interval k holds ``members[starts[k] : starts[k] + sizes[k]]``.

    An example that occurred twice is listed twice. Runs follow one another, each in order of time. ``weights``,
    where there are any, say how much each member counts; without them all count 1.
    """

    members: Int[Tensor, " member"]
    starts: Int[Tensor, " interval"]
    sizes: Int[Tensor, " interval"]
    weights: Float[Tensor, " member"] | None = None

    def dense(self, pool: int) -> Int[Tensor, "interval pool"] | Float[Tensor, "interval pool"]:
        """The same as a dense matrix."""
        rows = self._rows()
        each = torch.ones_like(rows) if self.weights is None else self.weights
        return torch.zeros(len(self.sizes), pool, dtype=each.dtype).index_put_(
            (rows, self.members), each, accumulate=True
        )

    def totals(self) -> Float[Tensor, " interval"]:
        """The weights of each interval's members together; without weights, how many there are."""
        if self.weights is None:
            return self.sizes.to(torch.float32)
        return self.weights.new_zeros(len(self.sizes)).index_add_(0, self._rows(), self.weights)

    def _rows(self) -> Int[Tensor, " member"]:
        return torch.repeat_interleave(torch.arange(len(self.sizes)), self.sizes)

    def turned(self, pool: int) -> "Counts":
        """The transposed matrix: for every pool example, the intervals that saw it, as often as they did."""
        sizes = torch.bincount(self.members, minlength=pool)
        order = torch.argsort(self.members, stable=True)
        weights = None if self.weights is None else self.weights[order]
        return Counts(self._rows()[order], torch.cumsum(sizes, 0) - sizes, sizes, weights)


def interval_counts(
    batches: Int[np.ndarray, "run step batch"],
    steps: Int[np.ndarray, " recorded"],
    pool: int,
    weights: Float[np.ndarray, "run step"] | None = None,
) -> Counts:
    """Count what each of the ``recorded - 1`` intervals of every run saw; padding (-1) counts for nothing.

    ``batches[r, s]`` is the batch that leads from step s to step s + 1, and ``weights[r, s]`` how much each of
    its members counts (1 unless given). Raises ``DataError`` where the batches end before the last recorded step or name an example that the pool of this size lacks.
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
    flat = sizes.reshape(-1).astype(np.int64)
    return Counts(
        members=torch.from_numpy(seen[present].astype(np.int64)),
        starts=torch.from_numpy(np.cumsum(flat) - flat),
        sizes=torch.from_numpy(flat),
        weights=None
        if weights is None
        else torch.from_numpy(np.broadcast_to(weights[:, first:last, None], seen.shape)[present].astype(np.float64)),
    )


def join(parts: list[Counts]) -> Counts:
    """The intervals of several count matrices, one after another, weighted where all of them are."""
    sizes = torch.cat([part.sizes for part in parts])
    weights = [part.weights for part in parts if part.weights is not None]
    return Counts(
        torch.cat([part.members for part in parts]),
        torch.cumsum(sizes, 0) - sizes,
        sizes,
        torch.cat(weights) if len(weights) == len(parts) else None,
    )


def modal_size(counts: Counts) -> int:
    """How many examples an interval holds most often (the smallest such number, intervals of none aside).

    Raises ``DataError`` where no interval holds any.
    """
    sizes = counts.sizes[counts.sizes > 0]
    if len(sizes) == 0:
        raise DataError("no batch holds any example between the recorded steps", "record at least one step")
    return int(torch.bincount(sizes).argmax())
