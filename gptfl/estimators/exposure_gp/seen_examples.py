"""Which examples runs see, how much each time counts, and sums of what is known of them, read some rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BLOCK_BYTES, BlockedRows
from gptfl.estimators.exposure_gp.curricula import Curricula


@dataclass(frozen=True, slots=True)
class SeenExamples:
    """Every time that a run sees an example before the last recorded step, by example.

    ``place`` is the recorded step at which it counts first and its run: ``row * runs + run``; ``taken`` and ``after`` are
    where on the vectors' path its step begins and ends, ``ends`` where recorded steps are.
    """

    example: Int[np.ndarray, " seen"]
    place: Int[np.ndarray, " seen"]
    weight: Float[np.ndarray, " seen"]
    relative: Float[np.ndarray, " seen"] | None
    taken: Float[np.ndarray, " seen"]
    after: Float[np.ndarray, " seen"]
    ends: Float[np.ndarray, " recorded"]
    runs: int
    kept: Float[np.ndarray, "recorded run"]
    """What sums are multiplied by at each recorded step (``Curricula.kept``)."""

    @classmethod
    def of(
        cls, runs: Curricula, steps: Int[np.ndarray, " recorded"], at: Float[np.ndarray, " step_and_end"] | None
    ) -> "SeenExamples":
        length = runs.batches.shape[1]
        at = np.arange(length + 1, dtype=np.float64) if at is None else at
        run, step, column = np.nonzero(runs.batches >= 0)
        row = np.searchsorted(steps, step + 1)
        kept = row < len(steps)
        run, step, row = run[kept], step[kept], row[kept]
        example = runs.batches[run, step, column[kept]]
        order = np.argsort(example, kind="stable")
        run, step, row, example = run[order], step[order], row[order], example[order]
        return cls(
            example,
            row * len(runs.batches) + run,
            runs.weights[run, step],
            None if runs.relative is None else runs.relative[example],
            at[step],
            at[step + 1],
            at[np.minimum(steps, length)] + np.maximum(steps - length, 0),
            len(runs.batches),
            runs.kept(steps),
        )

    def decayed(self, reach: float | None) -> Float[np.ndarray, " seen"]:
        """Their weights at the recorded step at which they count first, where what was seen counts less and less."""
        if reach is None:
            return self.weight
        return np.asarray(self.weight * np.exp((self.after - self.ends[self.place // self.runs]) / reach))

    def summed(self, found: Float[np.ndarray, "place d"], reach: float | None) -> Float[np.ndarray, "recorded run d"]:
        """What was added at each recorded step, added up over the steps before."""
        found = found.reshape(len(self.ends), self.runs, -1)
        total = np.zeros(found.shape[1:])
        for row, one in enumerate(found):
            if reach is not None:
                total *= np.exp(((self.ends[row - 1] if row else 0.0) - self.ends[row]) / reach)
            total += one
            found[row] = total * self.kept[row][:, None]
        return found


def share_of_point(
    taken: Float[np.ndarray, " seen"], points: Float[np.ndarray, " point"], number: int
) -> Float[np.ndarray, " seen"]:
    """How much one point of a path counts for what is seen at a place of it: linear between the points."""
    if len(points) == 1:
        return np.ones(len(taken))
    return np.asarray(np.interp(taken, points, np.eye(len(points))[number]))


Block = tuple[Float[np.ndarray, "row d"], Int[np.ndarray, " seen"]]
"""Rows, and which of them each presentation is of."""


def seen_blocks(
    example: Int[np.ndarray, " seen"], rows: Float[np.ndarray, "example d"] | BlockedRows
) -> Iterator[tuple[slice, Block]]:
    """The rows of the examples seen, some at a time, with the presentations that are of them."""
    first = np.flatnonzero(np.diff(example, prepend=-1))
    distinct = example[first]
    count = max(1, BLOCK_BYTES // (4 * max(1, rows.shape[1])))
    for start in range(0, len(distinct), count):
        some = distinct[start : start + count]
        begin = first[start]
        end = first[start + count] if start + count < len(first) else len(example)
        block = np.asarray(rows[some], dtype=np.float32)
        yield slice(begin, end), (block, np.searchsorted(some, example[begin:end]))


def add_rows(
    total: Float[np.ndarray, "place d"],
    place: Int[np.ndarray, " seen"],
    weight: Float[np.ndarray, " seen"],
    block: Block,
    there: Int[np.ndarray, " kept"],
) -> None:
    """Add weighted rows of a block to where their presentations count.

    Args:
        total: what is added to.
        place: of each presentation in it.
        weight: of each presentation.
        block: the rows, and which of them each presentation is of.
        there: the presentations that count.
    """
    from scipy.sparse import csr_array  # takes as long to load as a simulation

    if not len(there):
        return
    rows, which = block
    distinct, at = np.unique(place[there], return_inverse=True)
    matrix = csr_array((weight[there].astype(np.float32), (at, which[there])), shape=(len(distinct), len(rows)))
    total[distinct] += matrix @ rows
