"""From named sets of feature vectors to what drives a Gaussian process over exposures."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows, row_blocks
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.prior_rows import EstimatedRows, fill_unknown

_POINT = re.compile(r"(raw|preconditioned|split)-(\d{1,9})")
CENTRES = "exposure-gp: centres"
"""Under which a memo keeps the mean vectors of sets."""
LEVELS = 4
"""At so many points the lengths of test gradients are looked at."""
_BEST = ("preconditioned", "raw", "split")
"""Whose test side says best how alike test examples are comes last (``preconditioned`` has that of ``raw``)."""
_SKETCHED = {"raw": ("raw",), "preconditioned": ("split", "preconditioned")}
"""Whose vectors' products estimate those of each kind, the more precise ones first."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The vectors of one feature set: of training and of test examples, the former in memory or not."""

    train: Float[np.ndarray, "example d"] | BlockedRows
    test: Float[np.ndarray, "test d"]
    gradient: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """The feature sets that an estimator was fitted with, sorted by what they are.

    Gradient sets named ``raw-S``, ``preconditioned-S`` and ``split-S`` are the points of as many paths along a
    reference run; every other set is a path of one point, centred on the pool fitted.
    """

    sets: Mapping[str, Sides]
    centres: Mapping[str, Float[np.ndarray, " d"]] = field(default_factory=dict)
    memo: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """What was read of the pool for fits before (``Features.memo``); None where nothing is kept."""

    @classmethod
    def of(cls, sets: Mapping[str, Sides], memo: dict[str, Any] | None = None) -> "Sources":
        """Sources of the sets fitted, which set the centres."""
        known = {} if memo is None else memo
        if CENTRES not in known:
            known[CENTRES] = {
                name: np.zeros(one.train.shape[1]) if _is_point(name, one) else _mean(one.train)
                for name, one in sets.items()
            }
        return cls(sets, known[CENTRES], memo)

    @property
    def in_blocks(self) -> bool:
        """Whether the pool's vectors are read some at a time."""
        return any(isinstance(one.train, BlockedRows) for one in self.sets.values())

    def in_memory(self) -> "Sources":
        """The same with all vectors in memory."""
        if not self.in_blocks:
            return self
        return replace(self, sets={name: replace(one, train=np.asarray(one.train)) for name, one in self.sets.items()})

    def blocks_of(self, name: str) -> Iterator[tuple[int, Float[np.ndarray, "block d"]]]:
        """The pool's vectors in one set, some at a time, each time with the place of the first."""
        return row_blocks(self.sets[name].train)

    def is_point(self, name: str) -> bool:
        """Whether a set is a point of a path along a reference run, and no path by itself."""
        return _is_point(name, self.sets[name])

    @property
    def ways(self) -> int:
        """In how many ways the vectors tell first-order changes (``expected``)."""
        return sum(1 + (len(points) > 1) for points in self.paths if self.is_point(points[-1][1]))

    @property
    def test_sides(self) -> dict[str, Float[np.ndarray, "test d"]]:
        """The vectors of the test examples fitted in each set."""
        return {name: one.test for name, one in self.sets.items()}

    @property
    def paths(self) -> tuple[tuple[tuple[int, str], ...], ...]:
        """The points of each path, in order, as (step, name of the set)."""
        found: dict[str, list[tuple[int, str]]] = {}
        for name in sorted(self.sets):
            match = _POINT.fullmatch(name) if self.sets[name].gradient else None
            path, step = (match[1], int(match[2])) if match else (f"={name}", 0)
            found.setdefault(path, []).append((step, name))
        return tuple(tuple(sorted(points)) for _, points in sorted(found.items()))

    def vectors(
        self,
        train: Mapping[str, Float[np.ndarray, "example d"]],
        relative: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Vectors, ...]:
        """The training examples' vectors along each path, of the examples fitted or others in the same sets.

        Gradients were recorded as they count in a step; others come to count by ``relative``, where that is given.
        """

        def row(name: str) -> Float[np.ndarray, "example d"]:
            found = np.asarray((train[name] - self.centres[name]).astype(np.float32))
            if relative is not None and not _is_point(name, self.sets[name]):
                found *= relative[:, None].astype(np.float32)
            return found

        return tuple(
            Vectors(np.array([step for step, _ in points]), np.stack([row(name) for _, name in points]))
            for points in self.paths
        )

    def of_fitted(self, relative: Float[np.ndarray, " example"] | None = None) -> tuple[Vectors, ...]:
        """The vectors of the pool fitted."""
        return self.vectors({name: np.asarray(one.train) for name, one in self.sets.items()}, relative)

    def recent(self, vectors: tuple[Vectors, ...]) -> Vectors | None:
        """The vectors along the path whose test gradients say how alike test examples are; None without gradients."""
        return next((one for points, one in zip(self.paths, vectors, strict=True) if points[-1][1] == self.last), None)

    @property
    def last(self) -> str | None:
        """The gradient set at the last point, whose test side says how alike test examples are; None without."""
        named = [points[-1] for points in self.paths if _is_point(points[-1][1], self.sets[points[-1][1]])]
        return max(named, key=lambda point: (point[0], _BEST.index(point[1].partition("-")[0])))[1] if named else None

    def expected(
        self, vectors: tuple[Vectors, ...], test: Mapping[str, Float[np.ndarray, "test d"]]
    ) -> tuple[Vectors, ...]:
        """The first-order change of each test example for a unit of step size, told in several ways.

        The training gradients of each path, and those of its middle point alone, against the path's test gradients at
        the end: deviations from the average run are an expansion around it, so the later test gradients tell more
        than those of the step at which a batch was seen (which is what TracIn multiplies with).
        """
        found = []
        for points, path in zip(self.paths, vectors, strict=True):
            last = points[-1][1]
            if not _is_point(last, self.sets[last]):
                continue
            products = -(path.rows @ test[last].T.astype(np.float32))
            found.append(Vectors(path.points, products))
            if len(points) > 1:
                middle = len(points) // 2
                found.append(Vectors(path.points[middle : middle + 1], products[middle : middle + 1]))
        return tuple(found)

    def estimated(
        self,
        train: Mapping[str, Float[np.ndarray, "example d"] | BlockedRows],
        test: Mapping[str, Float[np.ndarray, "test d"]],
        known: PriorProducts,
    ) -> PriorProducts:
        """Products of these examples' gradients, with those of their vectors in place of the unknown ones (NaN).

        A point without vectors takes those of the nearest one that has some; a kind without any stays as it is. The
        training examples' vectors are read some rows at a time, and only those that have an unknown product.
        """
        found = {}
        for name, one in known.kinds.items():
            points = self.standing_in(name)
            if isinstance(one.rows, BlockedProducts):
                found[name] = self._estimated_in_blocks(one, points, train, test)
                continue
            rows = one.rows.copy()
            for place, step in enumerate(one.points.tolist() if points else ()):
                nearest = _nearest(points, step)
                fill_unknown(
                    rows[place], train[nearest], np.asarray(test[nearest], np.float32), np.arange(rows.shape[1])
                )
            found[name] = Vectors(one.points, rows)
        return PriorProducts(found)

    def _estimated_in_blocks(
        self,
        known: Vectors,
        points: tuple[tuple[int, str], ...],
        train: Mapping[str, Float[np.ndarray, "example d"] | BlockedRows],
        test: Mapping[str, Float[np.ndarray, "test d"]],
    ) -> Vectors:
        """The same of one kind whose products are read some rows at a time, and filled as they are."""
        if not points:
            return known
        rows = []
        for step, one in zip(known.points.tolist(), known.rows, strict=True):
            nearest = _nearest(points, step)
            rows.append(EstimatedRows(one, train[nearest], np.asarray(test[nearest], np.float32)))
        return Vectors(known.points, as_products(BlockedProducts(rows)))

    @property
    def estimable(self) -> frozenset[str]:
        """The kinds of products that the vectors can stand in for."""
        return frozenset(name for name in _SKETCHED if self.standing_in(name))

    def standing_in(self, kind: str) -> tuple[tuple[int, str], ...]:
        """The path whose vectors' products are of this kind; empty without one."""
        paths = [points for points in self.paths if _is_point(points[0][1], self.sets[points[0][1]])]
        named = {points[0][1].partition("-")[0]: points for points in paths}
        return next((named[name] for name in _SKETCHED[kind] if name in named), ())

    def levels(self, test: Mapping[str, Float[np.ndarray, "test d"]]) -> Float[np.ndarray, "test k"] | None:
        """How far each test example was from being learned along the reference run; None without raw gradients.

        These are logarithms of the lengths of its raw gradients, at up to four points spread over the run.
        """
        names = [name for points in self.paths for _, name in points if self._is_raw(name)]
        if not names:
            return None
        spread = np.linspace(0, len(names) - 1, min(LEVELS, len(names))).round().astype(int)
        lengths = [np.linalg.norm(test[names[place]], axis=1) for place in spread]
        return np.asarray(np.log(np.maximum(np.stack(lengths, axis=1), 1e-300)))

    def _is_raw(self, name: str) -> bool:
        return _is_point(name, self.sets[name]) and name.startswith("raw")

    def itself(self) -> Float[np.ndarray, " example"] | None:
        """Each fitted training example's gradient times itself at the end; None without gradients."""
        if self.last is None:
            return None
        kind, _, step = self.last.partition("-")
        # What is divided on the pool's side alone has a plain other side.
        other = self.sets.get(f"raw-{step}") if kind == "preconditioned" else None
        found = []
        for start, block in self.blocks_of(self.last):
            train = np.asarray(block, dtype=np.float64)
            plain = train if other is None else other.train[start : start + len(train)]
            found.append((train * plain).sum(axis=1))
        return np.concatenate(found) if found else np.zeros(0)

    def test_vectors(self, test: Mapping[str, Float[np.ndarray, "test d"]]) -> Float[np.ndarray, "test d"] | None:
        """What says how alike test examples are: gradients at the end where there are any, else all sets together."""
        if not self.sets:
            return None
        if self.last is not None:
            return np.asarray(test[self.last], dtype=np.float64)
        parts = []
        for name in sorted(self.sets):
            centred = np.asarray(test[name], dtype=np.float64) - self.centres[name]
            fitted = np.asarray(self.sets[name].test, dtype=np.float64) - self.centres[name]
            parts.append(centred / max(float(np.sqrt(np.mean((fitted**2).sum(axis=1)))), 1e-300))
        return np.concatenate(parts, axis=1)


def sources_of(features: Features | None, pool: int, test: int) -> Sources:
    """The feature sets of a recording of so many examples. Raises ``DataError`` where they aren't of these, or not finite."""
    if features is None:
        raise DataError("exposure-gp needs the examples' vectors", "run `gptfl featurize` first")
    sets = {
        name: Sides(
            one.train if isinstance(one.train, BlockedRows) else np.asarray(one.train),
            np.asarray(one.test),
            one.kind == "gradient",
        )
        for name, one in features.sets.items()
    }
    for name, one in sets.items():
        if (len(one.train), len(one.test)) != (pool, test):
            raise DataError(
                f"feature set {name!r} has vectors for {len(one.train)} pool and {len(one.test)} test examples, "
                f"the recording has {pool} and {test}",
                "featurize this recording",
            )
        # Of what is read some rows at a time, it is found when that is done.
        in_memory = () if isinstance(one.train, BlockedRows) else (one.train,)
        if not all(np.isfinite(vectors).all() for vectors in (*in_memory, one.test)):
            raise DataError(f"feature set {name!r} holds numbers that aren't finite", "featurize again")
    return Sources.of(sets, features.memo)


def _mean(rows: Float[np.ndarray, "example d"] | BlockedRows) -> Float[np.ndarray, " d"]:
    if not isinstance(rows, BlockedRows):
        return np.asarray(rows.mean(axis=0, dtype=np.float64))
    return np.asarray(sum(block.sum(axis=0, dtype=np.float64) for _, block in rows.blocks()) / max(len(rows), 1))


def _nearest(points: tuple[tuple[int, str], ...], step: int) -> str:
    """The set at the point nearest to a step."""
    return min(points, key=lambda point: abs(point[0] - step))[1]


def _is_point(name: str, sides: Sides) -> bool:
    return sides.gradient and _POINT.fullmatch(name) is not None


def check_vectors(
    sources: Sources, given: Mapping[str, Float[np.ndarray, "example d"]], places: Int[np.ndarray, " example"]
) -> str | None:
    """What is wrong with vectors of other examples, None where they fit those fitted."""
    for name, one in sources.sets.items():
        if name not in given:
            return f"there is no feature set {name!r}"
        if given[name].shape != (len(places), one.train.shape[1]):
            return f"feature set {name!r} has shape {given[name].shape}, not {(len(places), one.train.shape[1])}"
    return None


def beside(
    fitted: Float[np.ndarray, "test d"] | None, vectors: Float[np.ndarray, "new d"]
) -> tuple[Float[np.ndarray, "new test"], Float[np.ndarray, " new"]]:
    """Cosines of other test examples' vectors with those fitted, and their lengths in units of theirs (RMS)."""
    assert fitted is not None  # who has no vectors of the test examples answers about those fitted alone
    ours, theirs = np.linalg.norm(fitted, axis=1), np.linalg.norm(vectors, axis=1)
    cosines = vectors @ fitted.T / np.maximum(theirs[:, None] * ours[None], 1e-300)
    return cosines, theirs / max(float(np.sqrt(np.mean(ours**2))), 1e-300)
