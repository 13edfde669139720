"""How far runs have come in their examples' vectors, where the pool has more vectors than fit into memory.

All that a Gaussian process over runs needs of a pool's vectors are the runs' exposure-weighted sums of them, for each
run and recorded step. They are read once, some rows at a time, and of a question about some examples only theirs are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import fingerprint
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.curricula import RECENT, Curricula
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.remembered import remembered
from gptfl.estimators.exposure_gp.seen_examples import SeenExamples, add_rows, seen_blocks, share_of_point

Rows = Mapping[str, Float[np.ndarray, "example d"] | BlockedRows]
"""Vectors of examples by the name of their set, in memory or not."""


MEANS, SUMS = "exposure-gp: means", "exposure-gp: sums"
"""Under which a memo keeps means of the pool and sums of runs."""
LONGEST = 64
"""So many vectors of each set that are longer than all others are known by their places."""


@dataclass(frozen=True, slots=True)
class PoolMeans:
    """The mean vector of a pool at each point of each path, as the process takes them.

    ``longest`` has the places of each gradient set's longest vectors, where the pool was read for it.
    """

    paths: tuple[Float[np.ndarray, "point d"], ...]
    longest: Mapping[str, Int[np.ndarray, " row"]] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Sources, relative: Float[np.ndarray, " example"] | None) -> "PoolMeans":
        """Those of the pool fitted. Raises ``DataError`` where a vector isn't finite.

        Args:
            sources: its vectors.
            relative: how much each example counts in a batch, None where all count alike.
        """
        if sources.memo is None:
            return cls._read(sources, relative)
        known, key = sources.memo.setdefault(MEANS, {}), fingerprint(relative)
        if key not in known:
            known[key] = cls._read(sources, relative)
        return known[key]  # type: ignore[no-any-return]

    @classmethod
    def _read(cls, sources: Sources, relative: Float[np.ndarray, " example"] | None) -> "PoolMeans":
        longest: dict[str, Int[np.ndarray, " row"]] = {}
        paths = [np.stack([_mean(sources, name, relative, longest) for _, name in points]) for points in sources.paths]
        return cls(tuple(paths), longest)


def _mean(
    sources: Sources,
    name: str,
    relative: Float[np.ndarray, " example"] | None,
    longest: dict[str, Int[np.ndarray, " row"]],
) -> Float[np.ndarray, " d"]:
    """The mean of a set's vectors; the places of the longest ones are put down."""
    point = sources.is_point(name)
    weights = None if point else relative
    found, count = np.zeros(len(sources.centres[name])), 0
    places, lengths = np.zeros(0, np.int64), np.zeros(0)
    for start, block in sources.blocks_of(name):
        vectors = block.astype(np.float32)
        there = np.arange(start, start + len(vectors))
        found += vectors.sum(axis=0, dtype=np.float64) if weights is None else weights[there] @ vectors
        count += len(vectors)
        if point:
            places = np.append(places, there)
            lengths = np.append(lengths, np.einsum("nd,nd->n", vectors, vectors))
            kept = np.argsort(-lengths, kind="stable")[:LONGEST]
            places, lengths = places[kept], lengths[kept]
    if not np.isfinite(found).all():
        raise DataError(f"feature set {name!r} holds numbers that aren't finite", "featurize again")
    if point:
        longest[name] = np.sort(places)
    level = 1.0 if weights is None else float(weights.mean())
    return np.asarray(found / max(count, 1) - level * sources.centres[name])


@dataclass(frozen=True, slots=True)
class RunSums:
    """Where runs have come to at each recorded step.

    ``shared`` has an array for each source of effects but the examples' own: each path, and what was seen lately of the one
    that says how alike test examples are. ``middles`` are sums of the vectors at the middle point of each path of more
    than one, for what gradients expect. Both come in the precision of 32 bits.
    """

    shared: tuple[Float[np.ndarray, "recorded run d"], ...]
    middles: Mapping[int, Float[np.ndarray, "recorded run d"]]

    @classmethod
    def of(
        cls,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        sources: Sources,
        train: Rows | None = None,
        at: Float[np.ndarray, " step_and_end"] | None = None,
    ) -> "RunSums":
        """Sums over everything that runs have seen, of the pool fitted or of other examples.

        Args:
            runs: batches, which number the examples, and step sizes.
            steps: recorded, ascending.
            sources: what was fitted: which sets there are, and their centres.
            train: the vectors of the examples that batches number (None: of the pool fitted).
            at: which step of the vectors' path each step stands for, and the end of the last one (None: itself).
        """
        if train is None and sources.memo is not None:
            known: dict[str, RunSums] = sources.memo.setdefault(SUMS, {})
            return remembered(known, runs, steps, at, lambda some: cls._read(some, steps, sources, None, at))
        return cls._read(runs, steps, sources, train, at)

    @classmethod
    def joined(cls, parts: "Sequence[RunSums]") -> "RunSums":
        """Those of some runs, and of others after them."""
        shared = [np.concatenate(ones, axis=1) for ones in zip(*(part.shared for part in parts), strict=True)]
        middles = {
            number: np.concatenate([part.middles[number] for part in parts], axis=1) for number in parts[0].middles
        }
        return cls(tuple(shared), middles)

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return sum(one.nbytes for one in (*self.shared, *self.middles.values()))

    @classmethod
    def _read(
        cls,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        sources: Sources,
        train: Rows | None,
        at: Float[np.ndarray, " step_and_end"] | None,
    ) -> "RunSums":
        rows = {name: one.train for name, one in sources.sets.items()} if train is None else train
        seen = SeenExamples.of(runs, steps, at)
        shared, middles = [], {}
        recent: list[Float[np.ndarray, "recorded run d"]] = []
        for number, points in enumerate(sources.paths):
            lately = points[-1][1] == sources.last
            totals = _path_sums(seen, points, sources, rows, RECENT if lately else ())
            shared.append(totals[0])
            recent += totals[1:-1]
            if len(totals[-1]):
                middles[number] = totals[-1]
        return cls((*shared, *recent), middles)

    def of_runs(self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"] | slice = slice(None)) -> "RunSums":
        """Those of some runs at some of the recorded steps."""

        def some(one: Float[np.ndarray, "recorded run d"]) -> Float[np.ndarray, "row kept d"]:
            return one[rows][:, runs]

        return RunSums(tuple(map(some, self.shared)), {number: some(one) for number, one in self.middles.items()})

    def expected(
        self, row: int, sources: Sources, test: Mapping[str, Float[np.ndarray, "test d"]]
    ) -> list[Float[np.ndarray, "run test"]]:
        """The first-order change of each test example, in the ways of ``Sources.expected``: sums times test gradients."""
        found = []
        for number, points in enumerate(sources.paths):
            last = points[-1][1]
            if not sources.is_point(last):
                continue
            gradients = np.asarray(test[last], np.float32).T
            found.append(-(self.shared[number][row] @ gradients).astype(np.float64))
            if number in self.middles:
                found.append(-(self.middles[number][row] @ gradients).astype(np.float64))
        return found


def _path_sums(
    seen: SeenExamples,
    points: tuple[tuple[int, str], ...],
    sources: Sources,
    rows: Rows,
    recent: tuple[float, ...],
) -> list[Float[np.ndarray, "recorded run d"]]:
    """Sums along one path without decay, with each of ``recent`` ones, and of the middle point (nothing of one point)."""
    gradient = sources.is_point(points[-1][1])
    counts = 1.0 if gradient or seen.relative is None else seen.relative
    reaches = (None, *recent)
    weights = [seen.decayed(reach) * counts for reach in reaches]
    width, places = rows[points[0][1]].shape[1], len(seen.ends) * seen.runs
    found = [np.zeros((places, width), np.float32) for _ in reaches]
    middle = len(points) // 2 if gradient and len(points) > 1 else None
    of_middle = np.zeros((places if middle is not None else 0, width), np.float32)
    for number, (_, name) in enumerate(points):
        share = share_of_point(seen.taken, np.array([step for step, _ in points], np.float64), number)
        for some, block in seen_blocks(seen.example, rows[name]):
            there = np.flatnonzero(share[some] > 0)
            for total, weight in zip(found, weights, strict=True):
                add_rows(total, seen.place[some], weight[some] * share[some], block, there)
            if number == middle:
                add_rows(of_middle, seen.place[some], weights[0][some], block, np.arange(len(share[some])))
    if not gradient:
        for total, weight in zip(found, weights, strict=True):
            counted = np.bincount(seen.place, weight, places)
            total -= np.outer(counted, sources.centres[points[0][1]]).astype(np.float32)
    summed = [seen.summed(total, reach) for total, reach in zip(found, reaches, strict=True)]
    return [*summed, seen.summed(of_middle, None) if middle is not None else of_middle]
