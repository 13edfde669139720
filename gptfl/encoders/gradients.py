"""The gradient sketches that a recording keeps, as feature sets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics, Example, FeatureSet, GradientSketches, SketchPoint
from gptfl.core.blocked_rows import BlockedRows, as_array
from gptfl.core.curriculum import generator
from gptfl.errors import DataError, UsageError
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags

FOLDING = 29
"""What the random signs that fold a sketch are for."""
AUTO, BOTH, POOL, NONE = "auto", "both", "pool", "none"
"""Which sides are divided by what the optimiser divides by."""


def sets_of(
    points: Iterable[SketchPoint], kept: Int[np.ndarray, " kept"] | slice = slice(None)
) -> dict[str, FeatureSet]:
    """A set ``raw-S`` for each point S and, where there are such, ``preconditioned-S``, of which only the pool side
    differs, and ``split-S``.

    ``kept`` are the test examples to keep.
    """
    sets: dict[str, FeatureSet] = {}
    for point in points:
        test = point.test[kept]
        sets[f"raw-{point.step}"] = FeatureSet(point.train, test, "gradient")
        if point.preconditioned is not None:
            sets[f"preconditioned-{point.step}"] = FeatureSet(point.preconditioned, test, "gradient")
        if point.split_train is not None and point.split_test is not None:
            sets[f"split-{point.step}"] = FeatureSet(point.split_train, point.split_test[kept], "gradient")
    return sets


def fold(vectors: Float[np.ndarray, "example d"], dimensions: int) -> Float[np.ndarray, "example dimension"]:
    """Sketches in fewer dimensions: every ``dimensions``-th number added up with a random sign, the same for all.

    Dot products stay unbiased.
    """
    width = vectors.shape[1]
    if dimensions >= width:
        return vectors
    signs = generator(FOLDING, width).integers(0, 2, size=width) * 2 - 1
    padded = np.zeros((len(vectors), -(-width // dimensions) * dimensions), dtype=np.float32)
    np.multiply(vectors, signs, out=padded[:, :width])
    return np.asarray(padded.reshape(len(vectors), -1, dimensions).sum(axis=1))


class FoldedRows(BlockedRows):
    """Some rows of sketches that are read when they are asked for, folded."""

    def __init__(self, rows: BlockedRows, places: Int[np.ndarray, " kept"], dimensions: int) -> None:
        self.rows, self.places = rows, places
        self.shape, self.dtype = (len(places), min(dimensions, rows.shape[1])), rows.dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where their file is gone or damaged."""
        return fold(self.rows[self.places[start:stop]], self.shape[1])

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places. Raises ``DataError`` where their file is gone or damaged."""
        return fold(self.rows[self.places[places]], self.shape[1])


def _folded(
    vectors: Float[np.ndarray, "example d"], places: Int[np.ndarray, " kept"], dimensions: int
) -> Float[np.ndarray, "kept dimension"]:
    """The rows at some places in so many dimensions; of ``BlockedRows``, again ``BlockedRows``."""
    if isinstance(vectors, BlockedRows):
        return as_array(FoldedRows(vectors, places, dimensions))
    return fold(vectors[places], dimensions)


class Gradients:
    """Sets of the sketches that ``collect --sketches`` took at steps S: ``raw-S``, and one divided as the optimiser does.

    ``points`` are the steps to take, all by default; ``dimensions`` folds the sketches to so many numbers. ``divided``
    says which side what the optimiser divides by is taken to: ``both`` (``split-S``, each by its root), the ``pool``'s
    (``preconditioned-S``), or ``none``. By default, ``auto``, it is the first of these that was sketched at one of the
    points: both, except in older recordings. Only the recorded examples have vectors: a gradient can't be told from a
    text.
    """

    name: ClassVar[str] = "gradients"
    tags: ClassVar[EncoderTags] = EncoderTags(per_example=True, reads_texts=False)

    def __init__(self, points: object = "all", dimensions: int | None = None, divided: str = AUTO) -> None:
        who = f"encoder {self.name}"
        self.points = _read_points(who, points)
        self.dimensions = None if dimensions is None else settings.whole(who, "dimensions", dimensions, low=1)
        self.divided = settings.one_of(who, "divided", divided, (AUTO, BOTH, POOL, NONE))
        self._recording: Dynamics | None = None
        self._side = self.divided

    def use_recording(self, recording: Dynamics) -> None:
        """Take the sketches of a recording, and settle what ``auto`` is.

        Raises ``DataError`` where there are none, or not what is asked for.
        """
        found = recording.sketches
        if found is None:
            raise DataError(
                "encoder gradients: the recording has no gradient sketches",
                "add them by the command that recorded it and --sketches: gptfl collect ... --sketches (those that "
                "gptfl import ... --sketches takes are features already, and need no featurize)",
            )
        known = found.steps.tolist()
        for step in self.points or ():
            if step not in known:
                shown = ", ".join(map(str, known))
                raise DataError(f"encoder gradients: there are no sketches at step {step}", f"choose of {shown}")
        if self.dimensions is not None and self.dimensions > found.dimensions:
            raise DataError(
                f"encoder gradients: dimensions is {self.dimensions}, and the sketches have {found.dimensions}",
                f"give at most {found.dimensions}, or leave it out",
            )
        self._side = self._chosen_side(found)
        self._recording = recording

    def _chosen_side(self, found: GradientSketches) -> str:
        """Which sides are divided in the sets. Raises ``DataError`` where that wasn't sketched."""
        if self.divided == NONE:
            return NONE
        taken = [place for place, step in enumerate(found.steps.tolist()) if self._takes(step)]
        there = set[str]()
        for place in reversed(taken):  # the first point is the one without a second moment
            there |= _divided(found.point(place))
            if BOTH in there:
                break
        if self.divided == AUTO:
            return next((one for one in (BOTH, POOL) if one in there), NONE)
        if self.divided not in there:
            steps = ", ".join(str(found.steps[place]) for place in taken)
            has = ", ".join(one for one in (AUTO, BOTH, POOL, NONE) if one in {*there, AUTO, NONE})
            raise DataError(
                f"encoder gradients: divided is {self.divided!r}, and the recording has no such sketches at step {steps}",
                f"give one of {has}",
            )
        return self.divided

    def _takes(self, step: int) -> bool:
        return self.points is None or step in self.points

    @property
    def seconds(self) -> float | None:
        """What training the reference run and sketching took."""
        return self._sketches[1].seconds

    def identity(self) -> Mapping[str, Any]:
        """The fingerprint of the sketches, and the settings as they were settled."""
        _, found = self._sketches
        return {
            "encoder": self.name,
            "points": self.points or found.steps.tolist(),
            "dimensions": self.dimensions or found.dimensions,
            "divided": self._side,
            "modules": found.modules,
            "sketches": found.fingerprint,
        }

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One or two sets for each point; of sketches in a file, the pool's rows are ``BlockedRows``.

        Raises ``DataError`` for an example that wasn't recorded.
        """
        recording, found = self._sketches
        rows = {"pool": _rows(recording.pool, pool), "test": _rows(recording.test, test)}
        width = self.dimensions or found.dimensions

        def taken(vectors: np.ndarray | None, side: str, divided: str) -> np.ndarray | None:
            return None if vectors is None or divided != self._side else _folded(vectors, rows[side], width)

        sets: dict[str, FeatureSet] = {}
        for place, step in enumerate(found.steps.tolist()):
            if not self._takes(step):
                continue
            one = found.point(place)
            point = SketchPoint(
                step,
                _folded(one.train, rows["pool"], width),
                _folded(one.test, rows["test"], width),
                taken(one.preconditioned, "pool", POOL),
                taken(one.split_train, "pool", BOTH),
                taken(one.split_test, "test", BOTH),
            )
            sets |= sets_of([point])
        return sets

    @property
    def _sketches(self) -> tuple[Dynamics, GradientSketches]:
        recording = self._recording
        if recording is None or recording.sketches is None:
            raise DataError("encoder gradients has no recording to read", "run it by gptfl featurize")
        return recording, recording.sketches


def _divided(point: SketchPoint) -> set[str]:
    """Which sides were divided in sketches of this point, beside the plain ones."""
    split = point.split_train is not None and point.split_test is not None
    return ({BOTH} if split else set()) | ({POOL} if point.preconditioned is not None else set())


def _rows(recorded: Sequence[Example], requested: Sequence[Example]) -> Int[np.ndarray, " requested"]:
    if recorded is requested:
        return np.arange(len(recorded))
    places = {(example.id, example.digest): place for place, example in enumerate(recorded)}
    for example in requested:
        if (example.id, example.digest) not in places:
            raise DataError(
                f"encoder gradients: example {example.id!r} is not of the recording",
                "gradients of new examples can't be told without the model: use another encoder, such as answer-state",
            )
    return np.array([places[example.id, example.digest] for example in requested], dtype=np.int64)


def _read_points(who: str, points: object) -> list[int] | None:
    """Steps in ascending order; None for all. They may come as 0+16+48, as a list or as one number."""
    if points == "all":
        return None
    given = points.split("+") if isinstance(points, str) else points if isinstance(points, list | tuple) else [points]
    if not given:
        raise UsageError(f"{who}: points is empty", "give steps, as in 0+16+48, or all")
    return sorted({settings.whole(who, "points", one, low=0, also="several joined by +, or all") for one in given})
