"""Gradient sketches that are kept as they are made: a point's and some examples' at a time, each in a file of its own.

A command that is killed follows the reference run again, which takes little beside the gradients of a large pool, and sketches
what is lacking. Sketches of all points are never in memory at once.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float

from gptfl.core import FeatureSet, GradientProducts, GradientSketches, SketchPoint, fingerprint
from gptfl.core.blocked_rows import BlockedRows, ScaledRows, as_array
from gptfl.errors import DataError
from gptfl.interruption import leaving
from gptfl.plugins.interfaces import Plan
from gptfl.store.feature_blocks import FeatureBlocks, RowsOfBlocks
from gptfl.training.gradient_sketches import Estimated, SketchSetup, finite, products_of
from gptfl.training.gradients.blocks import Weights, pieces_within
from gptfl.training.gradients.projection import sketch_each
from gptfl.training.reference_run import Followed, Moment, follow_reference, scaled_products
from gptfl.training.trainer import RecordingTrainer

EXAMPLES = 256
"""A block has the sketches of at most so many examples of either side."""
ENCODER = "gradients"
NO_KEYS: tuple[list[str], list[str]] = [], []
ARRAYS = ("train", "preconditioned", "split_train"), ("test", "split_test")
"""What the sketches of the pool and of the test examples that are kept are called, in the order that they are made in."""


class KeptSketching:
    """Takes the sketches of all examples' gradients along a reference run, and keeps them beside ``target`` meanwhile.

    ``on_examples(point, step, examples)`` is told of examples that are done now.
    """

    def __init__(
        self, trainer: RecordingTrainer, plan: Plan, points: Sequence[int], setup: SketchSetup, target: Path
    ) -> None:
        self.trainer, self.plan, self.points, self.setup = trainer, plan, tuple(points), setup
        self.sides = setup.pool, setup.test
        self.count = max(-(-len(side) // EXAMPLES) for side in self.sides)
        self.on_examples: Callable[[int, int, int], None] = lambda point, step, examples: None
        self.notes: list[str] = []
        examples = [[one.digest for one in side] for side in (trainer.pool, trainer.evaluator.test)]
        run = [trainer.network.loaded.weights_hash, repr(trainer.recipe), plan.seed, EXAMPLES, list(self.points)]
        work = fingerprint(run, plan.batches, setup.dimensions, setup.modules, setup.wide, examples)
        self.kept = FeatureBlocks(target, ENCODER, {}, work)
        self._weights = [Weights.measured(setup.tape, side) for side in self.sides]
        self._seconds: dict[int, float] = {}
        """What each block took that is there."""
        for number in range(self.count * len(self.points)):
            self._look(number)
        self._own, self._trained = False, 0.0

    @property
    def done(self) -> int:
        """Examples over all points that are sketched already."""
        return sum(self._rows(number % self.count) for number in self._seconds)

    def follow(self) -> GradientSketches:
        """Carry out the reference run and sketch what isn't kept yet; all sketches, read when they are asked for.

        Raises ``DataError`` where the run or a sketch is not finite, ``ResourceError`` where a block can't be written.
        """
        with leaving(self._left):
            followed = follow_reference(self.trainer, self.plan, self.points, self)
        return self._sketches(followed)

    def __call__(self, moment: Moment) -> None:
        """Sketch at one point. Raises ``DataError`` where a sketch is not finite."""
        place = self.points.index(moment.step)
        self._trained, self._own = moment.seconds, moment.own_counted
        for block in range(self.count):
            number = place * self.count + block
            if number not in self._seconds:
                began = time.perf_counter()
                sets = self._block(moment, place, block)
                seconds = time.perf_counter() - began
                self.kept.keep(number, sets, seconds, NO_KEYS)
                self._seconds[number] = seconds

    def _block(self, moment: Moment, place: int, block: int) -> dict[str, FeatureSet]:
        """The sketches of a block: a set for each request and power, of either side where both have it."""
        rows = slice(block * EXAMPLES, (block + 1) * EXAMPLES)
        setup, made = self.setup, list[dict[str, np.ndarray]]()
        named = ("pool", self.trainer.pool), ("test", self.trainer.evaluator.test)
        requests = setup.requests(self.plan.seed)

        def on_examples(examples: int) -> None:
            self.on_examples(place, moment.step, examples)

        for number, (side, (name, examples)) in enumerate(zip(self.sides, named, strict=True)):
            some = side.take(range(len(side))[rows])
            pieces = pieces_within(some, self._weights[number], setup.memory) if len(some) else []
            given = moment.denominator, setup.memory, on_examples, pieces
            found = sketch_each(setup.tape, some, requests[number], *given) if pieces else []
            made.append(
                {
                    f"{one} {power}": finite(values, name, examples[rows], moment.step)
                    for one, powers in enumerate(found)
                    for power, values in enumerate(powers)
                }
            )
        sets = {}
        for key in sorted(made[0].keys() | made[1].keys()):
            width = next(side[key].shape[1] for side in made if key in side)
            pool, test = (side.get(key, np.zeros((0, width), dtype=np.float32)) for side in made)
            sets[key] = FeatureSet(pool, test, "gradient")
        return sets

    def _look(self, number: int) -> None:
        """Note a block that is there."""
        try:
            found = self.kept.find(number, NO_KEYS)
        except DataError as error:
            self.notes.append(f"a block of sketches is made again: {error.problem}")
            return
        if found is not None:
            self._seconds[number] = found.seconds or 0.0

    def _rows(self, block: int) -> int:
        return sum(len(range(len(side))[block * EXAMPLES : (block + 1) * EXAMPLES]) for side in self.sides)

    def _left(self) -> str:
        total = len(self.points) * sum(map(len, self.sides))
        if not self.done:
            return "no gradients were sketched, the same command begins anew"
        return f"{self.done} of {total} sketches are kept, the same command goes on from there"

    def _sketches(self, run: Followed) -> GradientSketches:
        scales = run.scales(self.trainer, self.points)
        points = KeptPoints(self.kept, self.points, [len(side) for side in self.sides], self.setup.dimensions, scales)
        products = self._products(points, run) if self.setup.wide else None
        return GradientSketches(
            seed=self.plan.seed,
            steps=np.array(self.points, dtype=np.int64),
            learning_rates=run.rates,
            dimensions=self.setup.dimensions,
            modules=self.setup.modules,
            points=points,
            products=None if products is None else scaled_products(products, scales),
            seconds=sum(self._seconds.values()) + self._trained,
            own_counted=self._own,
        )

    def _products(self, points: "KeptPoints", run: Followed) -> GradientProducts:
        device, found = self.setup.tape.network.device, []
        for place in range(len(self.points)):
            sides = [
                [torch.from_numpy(values).to(device) for values in side] for side in points.wide(place, self.setup.wide)
            ]
            found.append(Estimated.of(*sides))
        return products_of(found, self.plan.seed, self.points, run.rates, self._own)


class KeptPoints(Sequence[SketchPoint]):
    """The points of sketches that are kept in blocks; ``scales`` are by what the pool's count, None where all do alike."""

    def __init__(
        self,
        kept: FeatureBlocks,
        steps: Sequence[int],
        counts: Sequence[int],
        dimensions: int,
        scales: Float[np.ndarray, "point pool"] | None,
    ) -> None:
        self.kept, self.steps, self.counts, self.dimensions, self.scales = kept, steps, counts, dimensions, scales
        self.blocks = max(-(-count // EXAMPLES) for count in counts)

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, place: int) -> SketchPoint: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[SketchPoint]: ...

    def __getitem__(self, place: int | slice) -> SketchPoint | Sequence[SketchPoint]:
        """Whole. Raises ``DataError`` where a block can't be read."""
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        some = self.in_blocks(place)
        whole = {name: getattr(some, name) for side in ARRAYS for name in side}
        return SketchPoint(some.step, **{name: None if one is None else np.asarray(one) for name, one in whole.items()})  # type: ignore[arg-type]

    def in_blocks(self, place: int) -> SketchPoint:
        """A point whose pool rows are read when they are asked for. Raises ``DataError`` where a block can't be read."""
        parts: dict[str, np.ndarray | None] = dict.fromkeys(name for side in ARRAYS for name in side)
        held = self._sets(place)
        for power, name in enumerate(ARRAYS[0]):
            if f"0 {power}" in held:
                parts[name] = as_array(self._pool(place, f"0 {power}", self.dimensions, self.scales))
        for power, name in enumerate(ARRAYS[1]):
            if f"0 {power}" in held:
                parts[name] = self._test(place, f"0 {power}", self.dimensions)
        return SketchPoint(self.steps[place], **parts)  # type: ignore[arg-type]

    def wide(self, place: int, width: int) -> list[list[Float[np.ndarray, "example wide"]]]:
        """The sketches of a point that products are estimated from, plain and divided, of the pool and of the tests."""
        names = [name for name in ("1 0", "1 1") if name in self._sets(place)]
        pool = [np.asarray(self._pool(place, name, width, None)) for name in names]
        return [pool, [self._test(place, name, width) for name in names]]

    def _sets(self, place: int) -> list[str]:
        return list(self.kept.read(place * self.blocks))

    def _pool(self, place: int, name: str, width: int, scales: Float[np.ndarray, "point pool"] | None) -> BlockedRows:
        ends = np.minimum(np.arange(1, self.blocks + 1) * EXAMPLES, self.counts[0])
        rows = RowsOfBlocks(self.kept, name, ends, width, first=place * self.blocks)
        return rows if scales is None else ScaledRows(rows, scales[place].astype(np.float32))

    def _test(self, place: int, name: str, width: int) -> Float[np.ndarray, "test d"]:
        blocks = range(place * self.blocks, place * self.blocks + -(-self.counts[1] // EXAMPLES))
        return np.concatenate([np.zeros((0, width), np.float32), *(self.kept.read(one)[name].test for one in blocks)])
