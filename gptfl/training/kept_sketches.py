"""Gradient sketches that are kept as they are made: a point's and some examples' at a time, each in a file of its own.

A command that is killed follows the reference run again, which takes little beside the gradients of a large pool, and sketches
what is lacking. Sketches of all examples are never in memory at once. Examples are cut into pieces of one backward pass as where
they are sketched at once, or by an executor's workers, so that the sketches are the same to the bit.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float

from gptfl.core import GradientProducts, GradientSketches, SketchPoint, fingerprint
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import ScaledRows, as_array
from gptfl.interruption import leaving
from gptfl.plugins.interfaces import Plan
from gptfl.store.feature_blocks import FeatureBlocks
from gptfl.training.gradient_sketches import Estimated, SketchSetup, finite
from gptfl.training.gradients.projection import ProjectionRequest, sketch_each
from gptfl.training.kept_products import IN_MEMORY
from gptfl.training.kept_rows import POOL, TEST, WIDE, Held, KeptRows, SpanRows
from gptfl.training.reference_run import Followed, Moment, follow_reference, scaled_products
from gptfl.training.trainer import RecordingTrainer

EXAMPLES, SECONDS = 256, 60.0
"""Sketches are kept once they are of so many examples, or took so long: no more is lost."""
ENCODER = "gradients"
SIDES = ("pool", "test")
ARRAYS = ("train", "preconditioned", "split_train"), ("test", "split_test")
"""What the sketches of the pool and of the test examples that are kept are called, in the order that they are made in."""


class KeptSketching:
    """Takes the sketches of all examples' gradients along a reference run, and keeps them beside ``target`` meanwhile.

    Call it at each point. ``on_examples(point, step, examples)`` is told of examples that are done now.
    """

    def __init__(
        self, trainer: RecordingTrainer, plan: Plan, points: Sequence[int], setup: SketchSetup, target: Path
    ) -> None:
        self.trainer, self.plan, self.points, self.setup = trainer, plan, tuple(points), setup
        self.on_examples: Callable[[int, int, int], None] = lambda point, step, examples: None
        self.examples = trainer.pool, trainer.evaluator.test
        digests = [[one.digest for one in side] for side in self.examples]
        run = [trainer.network.loaded.weights_hash, repr(trainer.recipe), plan.seed, setup.together, list(self.points)]
        work = fingerprint(ENCODER, run, plan.batches, setup.dimensions, setup.modules, setup.wide, digests)
        # Random numbers hardly pack, and packing them would take longer than many a gradient.
        self.kept = FeatureBlocks(target, ENCODER, {}, work, packed=False)
        self.rows = KeptRows(self.kept, len(self.points), setup.spans, bool(setup.wide))
        self._pieces: list[list[list[list[int]]]] | None = None
        self.trained = 0.0, False
        """Seconds that training the run took, and whether each gradient's own square counted in what divides it."""

    @property
    def notes(self) -> list[str]:
        """What to tell of sketches that were there."""
        return self.rows.notes

    @property
    def done(self) -> int:
        """Examples over all points that are sketched already."""
        return self.rows.done

    def follow(self) -> GradientSketches:
        """Carry out the reference run and sketch what isn't kept yet; all sketches, read when they are asked for.

        Raises ``DataError`` where the run or a sketch is not finite, ``ResourceError`` where they can't be written.
        """
        with leaving(self._left):
            followed = follow_reference(self.trainer, self.plan, self.points, self)
        return self.sketches(followed)

    def __call__(self, moment: Moment) -> None:
        """Sketch at one point. Raises ``DataError`` where a sketch is not finite, ``ResourceError`` where it can't be kept."""
        place = self.points.index(moment.step)
        self.trained = moment.seconds, moment.own_counted
        with leaving(self._left):
            requests = self.setup.requests(self.plan.seed)
            # Those of the test examples are what the pool's products are estimated with.
            for side in (TEST, POOL):
                for span in range(len(self.setup.spans[side])):
                    held = self._sketch(moment, place, side, span, requests[side])
                    self._finish(place, side, span, held)

    def _sketch(
        self, moment: Moment, place: int, side: int, span: int, requests: list[ProjectionRequest]
    ) -> tuple[list[Held], float]:
        """Sketch what is lacking of a span; the last ones and their seconds, which aren't kept yet.

        Args:
            moment: where the reference run is.
            place: of that point.
            side: which the examples are on.
            span: which of that side.
            requests: what is projected.
        """
        setup, missing = self.setup, self.rows.missing(place, side, span)
        if self._pieces is None and missing:
            self._pieces = setup.pieces()
        held, began = list[Held](), time.perf_counter()

        def on_examples(examples: int) -> None:
            self.on_examples(place, moment.step, examples)

        for piece in self._pieces[side][span] if self._pieces and missing else ():
            rows = [row for row in piece if row in missing]
            if not rows:
                continue
            spent = time.perf_counter() - began
            if held and (sum(len(some) for some, _ in held) + len(rows) > EXAMPLES or spent > SECONDS):
                self._keep(place, side, held, spent)
                held, began = [], time.perf_counter()
            given = moment.denominator, setup.memory, on_examples, [range(len(rows))]
            found = sketch_each(setup.tape, (setup.pool, setup.test)[side].take(rows), requests, *given)
            held.append((rows, self._finite(side, rows, found, moment.step)))
        return held, time.perf_counter() - began

    def _finite(
        self, side: int, rows: Sequence[int], found: list[list[torch.Tensor]], step: int
    ) -> dict[str, Float[np.ndarray, "row d"]]:
        """Sketches by request and power. Raises ``DataError`` where one is not finite."""
        examples = [self.examples[side][row] for row in rows]
        return {
            f"{one} {power}": finite(values, SIDES[side], examples, step)
            for one, powers in enumerate(found)
            for power, values in enumerate(powers)
        }

    def take(self, place: int, side: int, rows: Sequence[int], sets: dict[str, torch.Tensor], seconds: float) -> None:
        """Keep what was sketched elsewhere, of it what isn't there yet.

        Args:
            place: of the point.
            side: which the examples are on.
            rows: their places there.
            sets: the sketches, by request and power.
            seconds: that they took.

        Raises ``DataError`` where one is not finite, ``ResourceError`` where they can't be kept.
        """
        places, step = np.asarray(rows), self.points[place]
        for span in range(len(self.setup.spans[side])):
            missing = self.rows.missing(place, side, span)
            (mine,) = np.nonzero([row in missing for row in places.tolist()])
            if len(mine):
                named = [self.examples[side][row] for row in places[mine]]
                some = {name: finite(values[mine], SIDES[side], named, step) for name, values in sets.items()}
                self._keep(place, side, [(places[mine].tolist(), some)], seconds)
                seconds = 0.0

    def estimate(self) -> None:
        """Estimate the products that are lacking once all was sketched elsewhere. Raises ``ResourceError`` as ``take``."""
        for place in range(len(self.points)):
            for span in range(len(self.setup.spans[POOL])):
                self._finish(place, POOL, span, ([], 0.0))

    def _finish(self, place: int, side: int, span: int, last: tuple[list[Held], float]) -> None:
        """Keep the last sketches of a span, and of the pool's the products that are estimated from wide ones, which are then
        kept no longer."""
        held, seconds = last
        if self.setup.wide and side == POOL:
            if not self.rows.is_estimated(place, span):
                self.rows.keep_products(place, span, self._estimated(place, span, held))
            held = [
                (rows, {name: one for name, one in sets.items() if not name.startswith(WIDE)}) for rows, sets in held
            ]
        if held:
            self._keep(place, side, held, seconds)

    def _keep(self, place: int, side: int, held: list[Held], seconds: float) -> None:
        rows = [row for some, _ in held for row in some]
        sets = {name: np.concatenate([one[name] for _, one in held]) for name in held[0][1]}
        self.rows.keep(place, side, rows, sets, seconds)

    def _estimated(self, place: int, span: int, held: list[Held]) -> Estimated:
        device = self.setup.tape.network.device
        wide = [name for name in self.rows.names(place, TEST) if name.startswith(WIDE)]
        pool = [self.rows.read(place, POOL, span, name, held) for name in wide]
        test = [self.rows.whole(place, TEST, name) for name in wide]
        return Estimated.of(*([torch.from_numpy(values).to(device) for values in side] for side in (pool, test)))

    def _left(self) -> str:
        total = len(self.points) * sum(map(len, self.examples))
        if not self.done:
            return "no gradients were sketched, the same command begins anew"
        return f"{self.done} of {total} sketches are kept, the same command goes on from there"

    def sketches(self, run: Followed) -> GradientSketches:
        """All that was taken along the run, read when it is asked for. Raises ``DataError`` where a file can't be read."""
        scales = run.scales(self.trainer, self.points)
        products = self._products(run) if self.setup.wide else None
        return GradientSketches(
            seed=self.plan.seed,
            steps=np.array(self.points, dtype=np.int64),
            learning_rates=run.rates,
            dimensions=self.setup.dimensions,
            modules=self.setup.modules,
            points=KeptPoints(self.rows, self.points, self.setup.dimensions, scales),
            products=None if products is None else scaled_products(products, scales),
            seconds=self.rows.seconds + self.trained[0],
            own_counted=self.trained[1],
        )

    def _products(self, run: Followed) -> GradientProducts:
        places, rows = range(len(self.points)), self.rows
        found = GradientProducts(
            seed=self.plan.seed,
            steps=np.array(self.points, dtype=np.int64),
            learning_rates=run.rates,
            raw=as_products(BlockedProducts([rows.products(place, 0) for place in places])),
            preconditioned=as_products(BlockedProducts([rows.products(place, 1) for place in places])),
            self_raw=np.stack([rows.own(place, 0) for place in places]),
            self_preconditioned=np.stack([rows.own(place, 1) for place in places]),
            own_counted=self.trained[1],
        )
        return found if found.raw.size >= IN_MEMORY else found.in_memory()


class KeptPoints(Sequence[SketchPoint]):
    """The points of sketches that are kept; ``scales`` are by what the pool's count, None where all do alike."""

    def __init__(
        self, rows: KeptRows, steps: Sequence[int], dimensions: int, scales: Float[np.ndarray, "point pool"] | None
    ) -> None:
        self.rows, self.steps, self.dimensions, self.scales = rows, steps, dimensions, scales

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, place: int) -> SketchPoint: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[SketchPoint]: ...

    def __getitem__(self, place: int | slice) -> SketchPoint | Sequence[SketchPoint]:
        """Whole. Raises ``DataError`` where a file can't be read."""
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        some = self.in_blocks(place)
        whole = {name: getattr(some, name) for side in ARRAYS for name in side}
        return SketchPoint(some.step, **{name: None if one is None else np.asarray(one) for name, one in whole.items()})  # type: ignore[arg-type]

    def in_blocks(self, place: int) -> SketchPoint:
        """A point whose pool rows are read when they are asked for. Raises ``DataError`` where a file can't be read."""
        parts: dict[str, np.ndarray | None] = dict.fromkeys(name for side in ARRAYS for name in side)
        for power, name in enumerate(ARRAYS[POOL]):
            if f"0 {power}" in self.rows.names(place, POOL):
                parts[name] = as_array(self._pool(place, f"0 {power}"))
        for power, name in enumerate(ARRAYS[TEST]):
            if f"0 {power}" in self.rows.names(place, TEST):
                parts[name] = self.rows.whole(place, TEST, f"0 {power}")
        return SketchPoint(self.steps[place], **parts)  # type: ignore[arg-type]

    def _pool(self, place: int, name: str) -> SpanRows | ScaledRows:
        rows = SpanRows(self.rows, place, name, self.dimensions)
        return rows if self.scales is None else ScaledRows(rows, self.scales[place].astype(np.float32))


def kept_memory(setup: SketchSetup) -> int:
    """Bytes of sketches that are in memory at most, beside gradients: those that aren't kept yet, or what is read again."""
    made = min(EXAMPLES, max(len(setup.pool), len(setup.test))) * setup.bytes_each
    # Of a span one kind is read, whole, and then some of it as it is written.
    again = 4 * setup.dimensions * (2 * len(setup.test) + 2 * min(setup.together, len(setup.pool)))
    return max(2 * made, again)
