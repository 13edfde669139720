"""From batches and recorded steps to what each step of the recurrence saw, as a sparse count matrix.

Recordings may be kept every k-th step. One step of the recurrence goes from one recorded point to the
next, and its "batch" is every example of the batches in between, as often as it occurred.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from gptfl.errors import DataError


@dataclass(frozen=True, slots=True)
class Counts:
    """A sparse (interval x pool) count matrix: interval k holds ``members[starts[k] : starts[k] + sizes[k]]``.

    An example that occurred twice is listed twice. Runs follow one another, each in order of time.
    """

    members: Int[torch.Tensor, " member"]
    starts: Int[torch.Tensor, " interval"]
    sizes: Int[torch.Tensor, " interval"]

    def dense(self, pool: int) -> Int[torch.Tensor, "interval pool"]:
        """The same as a dense matrix."""
        rows = torch.repeat_interleave(torch.arange(len(self.sizes)), self.sizes)
        return torch.zeros(len(self.sizes), pool, dtype=torch.int64).index_put_(
            (rows, self.members), torch.ones_like(rows), accumulate=True
        )

    def turned(self, pool: int) -> "Counts":
        """The transposed matrix: for every pool example, the intervals that saw it, as often as they did."""
        rows = torch.repeat_interleave(torch.arange(len(self.sizes)), self.sizes)
        sizes = torch.bincount(self.members, minlength=pool)
        return Counts(rows[torch.argsort(self.members, stable=True)], torch.cumsum(sizes, 0) - sizes, sizes)


def interval_counts(
    batches: Int[np.ndarray, "run step batch"], steps: Int[np.ndarray, " recorded"], pool: int
) -> Counts:
    """Count what each of the ``recorded - 1`` intervals of every run saw; padding (-1) counts for nothing.

    ``batches[r, s]`` is the batch that leads from step s to step s + 1. Raises ``DataError`` where the
    batches end before the last recorded step or name an example that the pool of this size lacks.
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
    )


def join(parts: list[Counts]) -> Counts:
    """The intervals of several count matrices, one after another."""
    sizes = torch.cat([part.sizes for part in parts])
    return Counts(torch.cat([part.members for part in parts]), torch.cumsum(sizes, 0) - sizes, sizes)


def modal_size(counts: Counts) -> int:
    """How many examples an interval holds most often (the smallest such number, intervals of none aside).

    Raises ``DataError`` where no interval holds any.
    """
    sizes = counts.sizes[counts.sizes > 0]
    if len(sizes) == 0:
        raise DataError("no batch holds any example between the recorded steps", "record at least one step")
    return int(torch.bincount(sizes).argmax())
