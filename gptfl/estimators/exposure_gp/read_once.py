"""All that fitting takes from the vectors of a pool that has too many for memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from gptfl.estimators.exposure_gp.curricula import RECENT
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.own_products import Cells, OwnProducts
from gptfl.estimators.exposure_gp.requests import RecordedRuns
from gptfl.estimators.exposure_gp.run_sums import PoolMeans, RunSums


@dataclass(frozen=True, slots=True)
class ReadOnce:
    """All that fitting takes from the vectors of a pool, which are read once for it."""

    sums: RunSums
    means: PoolMeans
    own: tuple[OwnProducts, ...]
    """Products of the runs' exposures to single examples at each recorded step."""

    @classmethod
    def of(cls, recorded: RecordedRuns, sources: Sources) -> "ReadOnce":
        """From the runs and the pool fitted. Raises ``DataError`` where a vector isn't finite."""
        runs = recorded.curricula
        means = PoolMeans.of(sources, runs.relative)
        return cls.with_own(recorded, RunSums.of(runs, recorded.steps, sources), means)

    @classmethod
    def with_own(cls, recorded: RecordedRuns, sums: RunSums, means: PoolMeans) -> "ReadOnce":
        """With what was read, and the products of exposures, for which nothing is."""
        cells = Cells.of(recorded.curricula, recorded.steps)
        return cls(sums, means, tuple(cells.products(cells)))

    def of_runs(self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"]) -> "ReadOnce":
        """The same of some runs at some of the recorded steps."""
        own = tuple(self.own[row].of(runs, runs) for row in rows)
        return replace(self, sums=self.sums.of_runs(runs, rows), own=own)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, for the file of a simulator."""
        found = {f"sums:{number}": one for number, one in enumerate(self.sums.shared)}
        found |= {f"middles:{number}": one for number, one in self.sums.middles.items()}
        found |= {f"mean:{number}": one for number, one in enumerate(self.means.paths)}
        cross, squares = (np.stack([getattr(one, name) for one in self.own]) for name in ("cross", "squares"))
        return found | {"own:cross": cross, "own:squares": squares}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], recorded: RecordedRuns, sources: Sources) -> "ReadOnce":
        """What ``arrays`` gave for these runs and sets.

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
        return cls(RunSums(tuple(shared), middles), PoolMeans(tuple(means)), own)


def _finite(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind != "f" or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"sums of shape {array.shape} are not of the runs and vectors, or not finite")
    return array
