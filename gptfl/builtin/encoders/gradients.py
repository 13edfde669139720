"""The gradient sketches that a recording keeps, as feature sets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from gptfl import settings
from gptfl.curricula import generator
from gptfl.errors import DataError, UsageError
from gptfl.records import Dynamics, Example, FeatureSet, GradientSketches, SketchPoint

FOLDING = 29
"""What the random signs that fold a sketch are for."""


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


class Gradients:
    """Sets ``raw-S`` and ``preconditioned-S`` of the sketches that ``collect --sketches`` took at steps S.

    ``points`` are the steps to take, all by default; ``dimensions`` folds the sketches to so many numbers. ``divided``
    says which side what the optimiser divides by is taken to: the ``pool``'s (``preconditioned-S``), ``both``
    (``split-S``, each by its root), or ``none``. Only the recorded examples have vectors: a gradient can't be told
    from a text.
    """

    name: ClassVar[str] = "gradients"
    per_example: ClassVar[bool] = True
    reads_texts: ClassVar[bool] = False

    def __init__(self, points: object = "all", dimensions: int | None = None, divided: str = "pool") -> None:
        who = f"encoder {self.name}"
        self.points = _read_points(who, points)
        self.dimensions = None if dimensions is None else settings.whole(who, "dimensions", dimensions, low=1)
        self.divided = settings.one_of(who, "divided", divided, ("pool", "both", "none"))
        self._recording: Dynamics | None = None

    def use_recording(self, recording: Dynamics) -> None:
        """Take the sketches of a recording. Raises ``DataError`` where there are none, or not what is asked for."""
        found = recording.sketches
        if found is None:
            raise DataError(
                "encoder gradients: the recording has no gradient sketches",
                "add them by the command that recorded it and --sketches: gptfl collect ... --sketches",
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
        self._recording = recording

    @property
    def seconds(self) -> float | None:
        """What training the reference run and sketching took."""
        return self._sketches[1].seconds

    def identity(self) -> Mapping[str, Any]:
        """The fingerprint of the sketches, and the settings."""
        _, found = self._sketches
        return {
            "encoder": self.name,
            "points": self.points or found.steps.tolist(),
            "dimensions": self.dimensions or found.dimensions,
            "divided": self.divided,
            "modules": found.modules,
            "sketches": found.fingerprint,
        }

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """Two sets for each point but the first. Raises ``DataError`` for an example that wasn't recorded."""
        recording, found = self._sketches
        rows = {"pool": _rows(recording.pool, pool), "test": _rows(recording.test, test)}
        width = self.dimensions or found.dimensions

        def taken(vectors: np.ndarray | None, side: str, divided: str) -> np.ndarray | None:
            return None if vectors is None or divided != self.divided else fold(vectors[rows[side]], width)

        sets: dict[str, FeatureSet] = {}
        for place, step in enumerate(found.steps.tolist()):
            if self.points and step not in self.points:
                continue
            one = found.points[place]
            point = SketchPoint(
                step,
                fold(one.train[rows["pool"]], width),
                fold(one.test[rows["test"]], width),
                taken(one.preconditioned, "pool", "pool"),
                taken(one.split_train, "pool", "both"),
                taken(one.split_test, "test", "both"),
            )
            sets |= sets_of([point])
        return sets

    @property
    def _sketches(self) -> tuple[Dynamics, GradientSketches]:
        recording = self._recording
        if recording is None or recording.sketches is None:
            raise DataError("encoder gradients has no recording to read", "run it by gptfl featurize")
        return recording, recording.sketches


def _rows(recorded: Sequence[Example], asked: Sequence[Example]) -> list[int]:
    places = {(example.id, example.digest): place for place, example in enumerate(recorded)}
    for example in asked:
        if (example.id, example.digest) not in places:
            raise DataError(
                f"encoder gradients: example {example.id!r} is not of the recording",
                "gradients of new examples can't be told without the model: use another encoder, such as answer-state",
            )
    return [places[example.id, example.digest] for example in asked]


def _read_points(who: str, points: object) -> list[int] | None:
    """Steps in ascending order; None for all. They may come as 0+16+48, as a list or as one number."""
    if points == "all":
        return None
    given = points.split("+") if isinstance(points, str) else points if isinstance(points, list | tuple) else [points]
    if not given:
        raise UsageError(f"{who}: points is empty", "give steps, as in 0+16+48, or all")
    return sorted({settings.whole(who, "points", one, low=0, also="several joined by +, or all") for one in given})
