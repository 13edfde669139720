"""All that fitting takes from the vectors and gradient products of a pool that has too many for memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from gptfl.estimators.exposure_gp.curricula import RECENT
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.known_sums import KnownChanges
from gptfl.estimators.exposure_gp.own_products import Cells, OwnProducts
from gptfl.estimators.exposure_gp.requests import RecordedRuns
from gptfl.estimators.exposure_gp.run_sums import PoolMeans, RunSums

TOGETHER_BYTES = 2**28
"""Sums of runs that differ by how their effects fade are read together where they take no more bytes."""


@dataclass(frozen=True, slots=True)
class ReadOnce:
    """All that fitting takes from the vectors of a pool and their known products, which are read for it alone."""

    sums: RunSums
    means: PoolMeans
    own: tuple[OwnProducts, ...]
    """Products of the runs' exposures to single examples at each recorded step."""
    known: KnownChanges | None = None
    """What is taken from known gradient products; None without any."""

    @classmethod
    def of(cls, recorded: RecordedRuns, sources: Sources, products: PriorProducts | None) -> "ReadOnce":
        """From the runs and the pool fitted. Raises ``DataError`` where a vector isn't finite."""
        runs, steps = recorded.curricula, recorded.steps
        means = PoolMeans.of(sources, runs.relative)
        known = None if products is None else KnownChanges.of(runs, steps, products)
        return cls.with_own(recorded, RunSums.of(runs, steps, sources), means, known)

    @classmethod
    def of_each(
        cls, recorded: Sequence[RecordedRuns], sources: Sources, products: PriorProducts | None
    ) -> "list[ReadOnce]":
        """The same of runs that differ by how their effects fade alone; what is read is read once for all of them.

        Raises ``DataError`` as ``of``.
        """
        first, fadings = recorded[0], [one.curricula.fading for one in recorded]
        lasting = [one for one in fadings if not isinstance(one, float)]
        if len(recorded) == 1 or lasting or cls._bytes(first, sources, products) * len(recorded) > TOGETHER_BYTES:
            return [cls.of(one, sources, products) for one in recorded]
        runs, steps, count = first.curricula.at_each([one for one in fadings if isinstance(one, float)]), first.steps, 0
        means = PoolMeans.of(sources, runs.relative)
        known = None if products is None else KnownChanges.of(runs, steps, products)
        sums, found = RunSums.of(runs, steps, sources), []
        for one in recorded:
            mine = np.arange(count, count + len(one.values))
            count += len(mine)
            some = None if known is None else known.of_runs(mine, np.arange(len(steps)))
            found.append(cls.with_own(one, sums.of_runs(mine), means, some))
        return found

    @staticmethod
    def _bytes(recorded: RecordedRuns, sources: Sources, products: PriorProducts | None) -> int:
        """How many bytes the sums of some runs take, about."""
        widths = [sources.sets[points[0][1]].test.shape[1] for points in sources.paths]
        tests = 0 if products is None else recorded.values.shape[2] * len(products.ways())
        width: int = sum(widths) * 2 + len(RECENT) * max(widths, default=0) + tests
        return 4 * width * int(np.prod(recorded.values.shape[:2]))

    @classmethod
    def with_own(
        cls, recorded: RecordedRuns, sums: RunSums, means: PoolMeans, known: KnownChanges | None = None
    ) -> "ReadOnce":
        """With what was read, and the products of exposures, for which nothing is.

        Args:
            recorded: the runs fitted.
            sums: their sums of vectors.
            means: of the pool.
            known: what is taken from known gradient products.
        """
        cells = Cells.of(recorded.curricula, recorded.steps)
        return cls(sums, means, tuple(cells.products(cells)), known)

    def of_runs(self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"]) -> "ReadOnce":
        """The same of some runs at some of the recorded steps."""
        own = tuple(self.own[row].of(runs, runs) for row in rows)
        known = None if self.known is None else self.known.of_runs(runs, rows)
        return replace(self, sums=self.sums.of_runs(runs, rows), own=own, known=known)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, for the file of a simulator."""
        found = {f"sums:{number}": one for number, one in enumerate(self.sums.shared)}
        found |= {f"middles:{number}": one for number, one in self.sums.middles.items()}
        found |= {f"mean:{number}": one for number, one in enumerate(self.means.paths)}
        cross, squares = (np.stack([getattr(one, name) for one in self.own]) for name in ("cross", "squares"))
        found |= {} if self.known is None else self.known.arrays()
        return found | {"own:cross": cross, "own:squares": squares}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        recorded: RecordedRuns,
        sources: Sources,
        products: PriorProducts | None = None,
    ) -> "ReadOnce":
        """What ``arrays`` gave for these runs and sets.

        Args:
            arrays: by name.
            recorded: the runs fitted.
            sources: their feature sets.
            products: gradient products beside those of the vectors.

        Raises ``KeyError``, ``ValueError`` or ``TypeError`` where it isn't of them.
        """
        shape = len(recorded.steps), len(recorded.values)
        widths = [sources.sets[points[0][1]].test.shape[1] for points in sources.paths]
        recent = [width for points, width in zip(sources.paths, widths, strict=True) if points[-1][1] == sources.last]
        shared = [
            _finite(arrays[f"sums:{number}"], (*shape, width))
            for number, width in enumerate(widths + recent[:1] * len(RECENT))
        ]
        middles = {
            number: _finite(arrays[f"middles:{number}"], (*shape, widths[number]))
            for number, points in enumerate(sources.paths)
            if len(points) > 1 and sources.is_point(points[-1][1])
        }
        means = [
            _finite(arrays[f"mean:{number}"], (len(points), width))
            for number, (points, width) in enumerate(zip(sources.paths, widths, strict=True))
        ]
        cross = _finite(arrays["own:cross"], (*shape, shape[1]))
        squares = _finite(arrays["own:squares"], shape)
        own = tuple(OwnProducts(*one) for one in zip(cross, squares, strict=True))
        known = None if products is None else KnownChanges.from_arrays(arrays, products, shape)
        if products is not None and known is None:
            known = KnownChanges.of(recorded.curricula, recorded.steps, products)
        return cls(RunSums(tuple(shared), middles), PoolMeans(tuple(means)), own, known)


def _finite(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind != "f" or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"sums of shape {array.shape} are not of the runs and vectors, or not finite")
    return array
