"""Which examples come together in a step: as they are drawn, by their lengths, or packed into rows."""

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from gptfl.core.curriculum import RunStream, count_steps, fill_batches, generator
from gptfl.errors import UsageError

PACKINGS = (BFD,) = ("bfd",)
"""How examples are packed into rows; best fit decreasing is what TRL's trainer does by default."""
PACKED_AT_ONCE = 1000
"""TRL packs so many examples by themselves, then as many more."""
MEGA_BATCHES, LARGEST_MEGA_BATCH = 4, 50
"""Lengths are sorted within stretches of so many batches: a quarter of all, at most 50."""


def pack(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Rows of at most ``width`` tokens, as places of examples: best fit decreasing, as TRL's ``packing_strategy="bfd"``.

    The longest example comes first, each into the row that has the least room left for it; a longer one than ``width``
    has a row of its own. ``lengths`` are the examples' tokens, in the order of the data.
    """
    rows: list[list[int]] = []
    for start in range(0, len(lengths), PACKED_AT_ONCE):
        part = np.minimum(lengths[start : start + PACKED_AT_ONCE], width)
        rows += [[start + place for place in row] for row in _pack(part, width)]
    return rows


def _pack(lengths: Int[np.ndarray, " example"], width: int) -> list[list[int]]:
    rows: list[list[int]] = []
    spaces: list[int] = []  # the different spaces left, ascending
    having: dict[int, deque[int]] = defaultdict(deque)  # the rows that have each, the earliest first
    for place in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[place])
        at = bisect_left(spaces, length)
        if at < len(spaces):
            space = spaces[at]
            row = having[space].popleft()
            if not having[space]:
                spaces.pop(at)
        else:
            space, row = width, len(rows)
            rows.append([])
        rows[row].append(place)
        left = space - length
        if left:
            if not having[left]:
                insort(spaces, left)
            having[left].append(row)
    return rows


def by_length(
    order: Int[np.ndarray, " example"], lengths: Int[np.ndarray, " example"], batch_size: int
) -> Int[np.ndarray, " example"]:
    """An order in which examples of about one length come together, as transformers' ``group_by_length`` makes it.

    Stretches of several batches of the given ``order`` are sorted by length, the longest first; the longest of all
    begins, so that too little memory is found out at once. ``lengths[i]`` is that of ``order[i]``.
    """
    size = batch_size * (min(len(order) // (batch_size * MEGA_BATCHES), LARGEST_MEGA_BATCH) or 1)
    stretches = [
        start + np.argsort(-lengths[start : start + size], kind="stable") for start in range(0, len(order), size)
    ]
    longest = int(np.argmax([lengths[one[0]] for one in stretches]))
    stretches[0][0], stretches[longest][0] = stretches[longest][0], stretches[0][0]
    return np.asarray(order[np.concatenate(stretches)])


@dataclass(frozen=True, slots=True)
class Batching:
    """How the examples of a run become batches.

    ``size`` is how many examples a step has, or with ``packing`` how many rows, each of several examples and of at most
    ``width`` tokens. ``lengths`` are the tokens of the pool's examples, -1 where that isn't known; needed with
    ``packing`` and where batches are ``grouped`` by length.
    """

    size: int
    packing: str | None = None
    grouped: bool = False
    width: int = 0
    lengths: Int[np.ndarray, " pool"] | None = None

    @property
    def plain(self) -> bool:
        """Whether lengths play no part."""
        return self.packing is None and not self.grouped

    def _of(self, subset: Int[np.ndarray, " subset"]) -> Int[np.ndarray, " subset"]:
        if self.lengths is None or (self.lengths[subset] < 0).any():
            raise UsageError(
                f"{self.flag}: it isn't known how many tokens each of these examples has",
                "ask about examples of the recording's pool",
            )
        return np.asarray(self.lengths[subset])

    @property
    def flag(self) -> str:
        """The option that makes lengths matter."""
        return "--group-by-length" if self.packing is None else f"--packing {self.packing}"

    def rows(self, subset: Int[np.ndarray, " subset"]) -> list[list[int]]:
        """The packed rows of a subset, as places in the pool; those of the whole data are in its order."""
        ordered = np.unique(subset)
        return [ordered[row].tolist() for row in pack(self._of(ordered).tolist(), self.width)]

    def steps(self, subset: Int[np.ndarray, " subset"], epochs: float) -> int:
        """How many steps it takes to see every example ``epochs`` times."""
        return count_steps(len(subset) if self.packing is None else len(self.rows(subset)), self.size, epochs)

    def fill(self, subset: Int[np.ndarray, " subset"], steps: int, seed: int) -> Int[np.ndarray, "step batch"]:
        """The batches of a run: pass after pass over the subset, each in an order of its own; -1 is padding."""
        if self.plain or len(subset) == 0:
            return fill_batches(subset, self.size, steps, seed)
        random = generator(seed, RunStream.BATCHES)
        if self.packing is None:
            lengths = self._of(subset)
            stream: list[int] = []
            while len(stream) < steps * self.size:
                order = random.permutation(len(subset))
                stream += subset[by_length(order, lengths[order], self.size)].tolist()
            return np.array(stream[: steps * self.size], dtype=np.int64).reshape(steps, self.size)
        rows = self.rows(subset)
        taken = fill_batches(np.arange(len(rows)), self.size, steps, seed)
        return padded([[i for row in step for i in rows[row]] for step in taken.tolist()])


def padded(batches: Sequence[Sequence[int]], width: int = 1) -> Int[np.ndarray, "step batch"]:
    """Batches of different sizes in one array, filled up with -1."""
    width = max(width, *map(len, batches)) if batches else width
    found = np.full((len(batches), width), -1, dtype=np.int64)
    for line, batch in zip(found, batches, strict=True):
        line[: len(batch)] = batch
    return found


def stacked_batches(runs: Sequence[Int[np.ndarray, "*any step batch"]]) -> Int[np.ndarray, "run *any step batch"]:
    """The batches of several runs of as many steps in one array, the narrower ones filled up with -1."""
    width = max(run.shape[-1] for run in runs)
    found = np.full((len(runs), *runs[0].shape[:-1], width), -1, dtype=np.int64)
    for place, run in zip(found, runs, strict=True):
        place[..., : run.shape[-1]] = run
    return found
