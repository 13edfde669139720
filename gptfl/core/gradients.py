"""What is recorded of the examples' gradients along a reference run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.values import Blocks, fingerprint


@dataclass(frozen=True, slots=True)
class GradientProducts:
    """Dot products of the examples' loss gradients, at points along one reference run.

    ``steps`` are the points (0 is the model before any update). ``raw[k, i, j]`` is the product of pool example
    i's gradient with test example j's; in ``preconditioned`` the pool side is divided by the root of the
    optimiser's bias-corrected second moment (plus its epsilon), NaN at points where there is none. ``self_raw``
    and ``self_preconditioned`` are each pool example's product with itself (only one side divided).
    A pool example's gradient is what it brings to a step: where the recipe takes the loss's mean over tokens, times its
    tokens over the pool's mean, and where it clips, times the mean factor around the point. An optimiser without second
    moments divides by a constant. All trained parameters count. With ``own_counted`` the second moment is the one after
    a further step, to which the example's own gradient adds its square. ``seed`` is the reference run's, ``learning_rates`` its step sizes.
    Of a large pool ``raw`` and ``preconditioned`` are ``BlockedProducts``, read some rows at a time; only estimators whose tag
    ``blocks`` is true are given those.
    """

    seed: int
    steps: Int[np.ndarray, " point"]
    learning_rates: Float[np.ndarray, " step"]
    raw: Float[np.ndarray, "point pool test"]
    preconditioned: Float[np.ndarray, "point pool test"]
    self_raw: Float[np.ndarray, "point pool"]
    self_preconditioned: Float[np.ndarray, "point pool"]
    own_counted: bool = False
    _known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    """The fingerprint, once it was computed."""
    memo: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    """What fits worked out of the products and the next ones to the same may take; None where nothing is kept."""

    def remembering(self) -> "GradientProducts":
        """The same, with a memo that estimators fitted to it share."""
        found = replace(self)
        object.__setattr__(found, "_known", self._known)
        object.__setattr__(found, "memo", {})
        return found

    @property
    def fingerprint(self) -> str:
        """Fingerprint of every product; reads some rows at a time."""
        if not self._known:
            arrays = (_blocks(self.raw), _blocks(self.preconditioned), self.self_raw, self.self_preconditioned)
            about = (self.seed, self.steps, self.learning_rates)
            self._known.append(fingerprint(*about, *arrays, *_counted(self.own_counted)))
        return self._known[0]

    @property
    def in_blocks(self) -> bool:
        """Whether products are read some rows of the pool at a time."""
        return isinstance(self.raw, BlockedProducts) or isinstance(self.preconditioned, BlockedProducts)

    @property
    def nbytes(self) -> int:
        """How many bytes the products of pairs take in memory."""
        return sum(one.size * one.dtype.itemsize for one in (self.raw, self.preconditioned))

    def in_memory(self) -> "GradientProducts":
        """The same with all products in memory."""
        if not self.in_blocks:
            return self
        return replace(self, raw=np.asarray(self.raw), preconditioned=np.asarray(self.preconditioned))

    def of_examples(self, pool: Int[np.ndarray, " kept"], tests: Int[np.ndarray, " chosen"]) -> "GradientProducts":
        """Those of the examples at these places; those of the pool ascend where products are read in blocks."""
        return replace(
            self,
            raw=_of_examples(self.raw, pool, tests),
            preconditioned=_of_examples(self.preconditioned, pool, tests),
            self_raw=self.self_raw[:, pool],
            self_preconditioned=self.self_preconditioned[:, pool],
        )


def _of_examples(
    products: Float[np.ndarray, "point pool test"], pool: Int[np.ndarray, " kept"], tests: Int[np.ndarray, " chosen"]
) -> Float[np.ndarray, "point kept chosen"]:
    if isinstance(products, BlockedProducts):
        return as_products(products.of_examples(pool, tests))
    return np.asarray(products[:, pool][:, :, tests])


def _blocks(products: Float[np.ndarray, "point pool test"]) -> np.ndarray | Blocks:
    """Products as they are fingerprinted, in memory or not."""
    if isinstance(products, BlockedProducts):
        return Blocks(products.dtype, products.shape, products.blocks())
    return products


@dataclass(frozen=True, slots=True)
class SketchPoint:
    """Sketches of the examples' loss gradients at one step of a reference run; one projection for both sides.

    In ``preconditioned`` the pool's gradients are divided by the root of the optimiser's bias-corrected second moment
    (plus its epsilon) before they are projected. In ``split_train`` and ``split_test`` both sides are divided by the
    root of that, so that products are those of ``preconditioned`` with ``test``, several times more precise: no side
    is swamped by weights that are hardly ever moved. None where there is no second moment.
    """

    step: int
    train: Float[np.ndarray, "pool d"]
    test: Float[np.ndarray, "test d"]
    preconditioned: Float[np.ndarray, "pool d"] | None
    split_train: Float[np.ndarray, "pool d"] | None = None
    split_test: Float[np.ndarray, "test d"] | None = None


@runtime_checkable
class PointsInBlocks(Protocol):
    """What points that lie in a file also offer."""

    def in_blocks(self, place: int) -> SketchPoint:
        """One of them, the pool's rows of which are ``BlockedRows``."""
        ...


@dataclass(frozen=True, slots=True)
class GradientSketches:
    """Seeded random projections of every example's loss gradient, at points along one reference run.

    Dot products of two sketches estimate those of the gradients. ``steps`` are the points, ``points`` their sketches
    in the same order, which may be read from a file only when one is asked for. ``modules`` is the pattern of the
    names of the weights that count, None for all trained ones. ``seed`` is the reference run's and the projection's,
    ``learning_rates`` are the run's step sizes. ``seconds``, where known, is what training and sketching took; no
    fingerprint has it. ``products`` are estimates of the gradient products at the same points, from sketches many times
    as wide that weren't kept; None where there were none. With ``own_counted`` each gradient that is divided counts in
    the second moment, as in ``GradientProducts``, on both sides; older sketches go by the optimiser's state alone.
    """

    seed: int
    steps: Int[np.ndarray, " point"]
    learning_rates: Float[np.ndarray, " step"]
    dimensions: int
    modules: str | None
    points: Sequence[SketchPoint] = field(repr=False)
    seconds: float | None = None
    products: GradientProducts | None = None
    own_counted: bool = False

    def point(self, place: int) -> SketchPoint:
        """One of the points; where it lies in a file, the pool's rows are ``BlockedRows``."""
        return self.points.in_blocks(place) if isinstance(self.points, PointsInBlocks) else self.points[place]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of every sketch; reads some rows at a time."""
        each = [
            fingerprint(one.step, one.train, one.test, one.preconditioned, one.split_train, one.split_test)
            for one in map(self.point, range(len(self.points)))
        ]
        # Sketches without products keep the fingerprint that they had before there were any.
        more: tuple[str, ...] = () if self.products is None else (self.products.fingerprint,)
        more += _counted(self.own_counted)
        return fingerprint(self.seed, self.steps, self.learning_rates, self.dimensions, self.modules, each, *more)


def _counted(own: bool) -> tuple[str, ...]:
    """What a fingerprint takes in of it; older ones stay as they are."""
    return ("own counted",) if own else ()


@dataclass(frozen=True, slots=True)
class TokenSketches:
    """The target's tokens of one test example, and sketches of the gradients of their losses.

    ``sketches`` are by kind (``raw``; ``split``, divided by the root of the optimiser's denominator) and step of the run.
    """

    tokens: tuple[str, ...]
    sketches: Mapping[tuple[str, int], Float[np.ndarray, "token d"]]
