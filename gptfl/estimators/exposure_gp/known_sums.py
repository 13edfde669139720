"""What known gradient products say of runs: the runs' exposure-weighted sums of them, for each recorded step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BlockedRows
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts, mean_change
from gptfl.estimators.exposure_gp.remembered import remembered
from gptfl.estimators.exposure_gp.seen_examples import SeenExamples, add_rows, seen_blocks, share_of_point


@dataclass(frozen=True, slots=True)
class KnownSums:
    """First-order changes of runs by known products, told in several ways (``PriorProducts.ways``), as 32-bit floats."""

    ways: tuple[Float[np.ndarray, "recorded run test"], ...]

    @classmethod
    def of(
        cls,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        ways: Sequence[Vectors],
        at: Float[np.ndarray, " step_and_end"] | None = None,
        known: "dict[str, KnownSums] | None" = None,
    ) -> "KnownSums":
        """Sums over everything that runs have seen; products are read some rows at a time.

        Args:
            runs: batches, which number the examples, and step sizes.
            steps: recorded, ascending.
            ways: products of the examples that batches number.
            at: which step of the reference run each step stands for, and the end of the last one (None: itself).
            known: sums of single runs of the same products that were read before (``PriorProducts.sums``); None where
                nothing is kept.
        """
        if known is None:
            return cls._read(runs, steps, ways, at)
        return remembered(known, runs, steps, at, lambda some: cls._read(some, steps, ways, at))

    @classmethod
    def _read(
        cls,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        ways: Sequence[Vectors],
        at: Float[np.ndarray, " step_and_end"] | None,
    ) -> "KnownSums":
        seen = SeenExamples.of(runs, steps, at)
        places = len(steps) * len(runs.batches)
        found = [np.zeros((places, way.rows.shape[2]), np.float32) for way in ways]
        # What is told in two ways at one point is read once.
        read: dict[int, list[tuple[int, int]]] = {}
        rows: dict[int, Float[np.ndarray, "example test"] | BlockedRows] = {}
        for number, way in enumerate(ways):
            for place, one in enumerate(way.rows):
                rows[id(one)] = one
                read.setdefault(id(one), []).append((number, place))
        for key, uses in read.items():
            shares = [share_of_point(seen.taken, ways[number].points, place) for number, place in uses]
            for some, block in seen_blocks(seen.example, rows[key]):
                for (number, _), share in zip(uses, shares, strict=True):
                    there = np.flatnonzero(share[some] > 0)
                    add_rows(found[number], seen.place[some], seen.weight[some] * share[some], block, there)
        return cls(tuple(seen.summed(one, None) for one in found))

    @classmethod
    def joined(cls, parts: "Sequence[KnownSums]") -> "KnownSums":
        """Those of some runs, and of others after them."""
        return cls(tuple(np.concatenate(ones, axis=1) for ones in zip(*(part.ways for part in parts), strict=True)))

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return sum(one.nbytes for one in self.ways)

    def of_runs(
        self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"] | slice = slice(None)
    ) -> "KnownSums":
        """Those of some runs at some of the recorded steps."""
        return KnownSums(tuple(one[rows][:, runs] for one in self.ways))

    def at(self, row: int) -> list[Float[np.ndarray, "run test"]]:
        """The changes at a recorded step."""
        return [one[row].astype(np.float64) for one in self.ways]


@dataclass(frozen=True, slots=True)
class KnownChanges:
    """What fitting takes from known products: sums of the runs fitted, and each way's mean over the pool."""

    sums: KnownSums
    means: tuple[Float[np.ndarray, "point test"], ...]

    @classmethod
    def of(cls, runs: Curricula, steps: Int[np.ndarray, " recorded"], products: PriorProducts) -> "KnownChanges":
        """From the runs and the pool fitted."""
        ways = products.ways()
        return cls(KnownSums.of(runs, steps, ways, known=products.sums), tuple(mean_change(way) for way in ways))

    def of_runs(self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"]) -> "KnownChanges":
        """The same of some runs at some of the recorded steps."""
        return KnownChanges(self.sums.of_runs(runs, rows), self.means)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name."""
        found = {f"known:{number}": one for number, one in enumerate(self.sums.ways)}
        return found | {f"known-mean:{number}": one for number, one in enumerate(self.means)}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], products: PriorProducts, shape: tuple[int, int]
    ) -> "KnownChanges | None":
        """What ``arrays`` gave of these products; None where they have none of it, as those of older simulators.

        Args:
            arrays: by name.
            products: which were known.
            shape: how many recorded steps and runs there are.

        Raises ``ValueError`` or ``KeyError`` for arrays of other products or runs.
        """
        if "known:0" not in arrays:
            return None
        sums, means = [], []
        for number, way in enumerate(products.ways()):
            points, _, tests = way.rows.shape
            sums.append(_finite(arrays[f"known:{number}"], (*shape, tests)))
            means.append(_finite(arrays[f"known-mean:{number}"], (points, tests)))
        return cls(KnownSums(tuple(sums)), tuple(means))


def _finite(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind != "f" or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"first-order changes of shape {array.shape} are not of the runs and products, or not finite")
    return array
