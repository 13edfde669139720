"""Gradient sketches at points along a reference run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.core import Example, GradientProducts, GradientSketches, SketchPoint
from gptfl.core.curriculum import run_seed
from gptfl.errors import DataError
from gptfl.training.gradients.blocks import GRAPH, Weights, default_memory, pieces_within
from gptfl.training.gradients.projection import Projection, ProjectionRequest, project, sketch_each
from gptfl.training.gradients.sides import Side, test_side
from gptfl.training.gradients.tape import Tape
from gptfl.training.reference_run import Moment, check_against_autograd, scaled_products
from gptfl.training.trainer import RecordingTrainer

POWERS = (1.0, 0.5)
"""Of what the optimiser divides by: whole for the pool's preconditioned gradients, split between the two sides."""
WIDE, WIDE_MEMORY = 2**17, 2**30
"""Numbers of the sketches that products are estimated from and that are not kept, and bytes that they may take."""
COPIES = 8
"""Wide sketches of an example that are held at a time, at most: its own two, and while they are made, two of twice the
width and the two sums of their halves."""


TOGETHER = 2**24
"""Numbers of each kind of so many, sketches or estimated products of examples in a row, may be in memory at once."""
LEAST = 256
"""And of so many examples at least."""


@dataclass(frozen=True)
class SketchSetup:
    """A trainer's pool and test examples, and the weights whose gradients are sketched.

    ``memory`` are the bytes that gradients take at most.
    """

    tape: Tape
    pool: Side
    test: Side
    dimensions: int
    modules: str | None
    memory: int

    @property
    def wide(self) -> int:
        """Numbers of the sketches that products are estimated from; 0 where those kept are as wide, or memory is short."""
        found = WIDE
        while self._bytes(found) > WIDE_MEMORY:
            found //= 2
        return found if found > self.dimensions else 0

    @property
    def bytes_each(self) -> int:
        """What an example's sketches at a point take: three of those that are kept, and two wide ones."""
        return 4 * (3 * self.dimensions + 2 * self.wide)

    @property
    def together(self) -> int:
        """Examples in a row whose sketches are read, and whose gradients are cut into pieces, by themselves."""
        return max(LEAST, TOGETHER // max(self.dimensions, len(self.test) if self.wide else 0))

    @property
    def spans(self) -> list[list[range]]:
        """The examples of the pool and of the test side, ``together`` in a row."""
        width = self.together
        return [
            [range(start, min(start + width, len(side))) for start in range(0, len(side), width)]
            for side in (self.pool, self.test)
        ]

    def pieces(self) -> list[list[list[list[int]]]]:
        """The pieces of one backward pass each that the examples of every span are cut into, of either side."""
        found = []
        for side, spans in zip((self.pool, self.test), self.spans, strict=True):
            weights = Weights.measured(self.tape, side)
            found.append(
                [
                    [[span[i] for i in piece] for piece in pieces_within(side.take(span), weights, self.memory)]
                    for span in spans
                ]
            )
        return found

    def _bytes(self, wide: int) -> int:
        return 4 * COPIES * wide * (len(self.pool) + len(self.test))

    def requests(self, seed: int) -> tuple[list[ProjectionRequest], list[ProjectionRequest]]:
        """What is to be projected of the pool's and of the test examples' gradients."""
        like = self.tape.network.trainable[0]
        kept = Projection(self.dimensions, seed, like)
        wide = [ProjectionRequest(Projection(self.wide, run_seed(seed, WIDE), like), POWERS[1:])] if self.wide else []
        return [ProjectionRequest(kept, POWERS), *wide], [ProjectionRequest(kept, POWERS[1:]), *wide]

    @classmethod
    def of(
        cls,
        trainer: RecordingTrainer,
        dimensions: int,
        modules: str | None = None,
        test: Side | None = None,
        memory: int | None = None,
    ) -> "SketchSetup":
        """A trainer's examples, laid out to be sketched.

        Args:
            trainer: with its examples.
            dimensions: numbers of a sketch.
            modules: pattern of the modules whose weights count, None for all.
            test: the test side where it is laid out already.
            memory: bytes of gradients that are held at most, None for what the device has room for.

        Raises ``DataError`` for a model whose gradients can't be taken apart by example, and ``UsageError`` where no
        trained weight has a name that matches ``modules``.
        """
        tape = Tape(trainer.network, modules)
        pool = Side(trainer.rows, trainer.hidden)
        test = test_side(trainer.network, trainer.tokenizer, trainer.evaluator) if test is None else test
        check_against_autograd(tape, pool)
        return cls(tape, pool, test, dimensions, modules, memory or default_memory(trainer.network.device))

    def piece(self, seed: int) -> Callable[[], int]:
        """The work on one piece of middling length, as dear as it gets; it returns how many examples that is."""
        pieces = pieces_within(self.pool, Weights.measured(self.tape, self.pool), self.memory)
        side = self.pool.take(pieces[len(pieces) // 2])
        network = self.tape.network
        ones = [weight.detach().new_ones(()).expand_as(weight) for weight in network.trainable]
        requests, _ = self.requests(seed)

        def work() -> int:
            block = self.tape.record(side)
            project(
                block, requests, lambda place, rows, values: values.square().add_(ones[place][rows].flatten()).sqrt_()
            )
            return block.count

        return work

    @property
    def held(self) -> int:
        """Bytes of gradients that are held at a time, at most."""
        weights = Weights.measured(self.tape, self.pool)
        most = max(
            sum(weights.of(side, i) for i in piece) * (1 + GRAPH)
            for side in (self.pool, self.test)
            for piece in pieces_within(side, weights, self.memory)
        )
        return int(most) + self._bytes(self.wide)


class Sketching:
    """Takes the sketches of all examples' gradients at points of a reference run; call it at each of them.

    ``on_examples(point, step, examples)`` is told of examples that are done, the pool's first.
    """

    def __init__(
        self,
        pool: tuple[Example, ...],
        test: tuple[Example, ...],
        seed: int,
        setup: SketchSetup,
        on_examples: Callable[[int, int, int], None],
    ) -> None:
        self.pool, self.test, self.seed, self.setup, self.on_examples = pool, test, seed, setup, on_examples
        self.points: list[SketchPoint] = []
        self.products: list[Estimated] = []
        self.spent = self.trained = 0.0
        self.own_counted = False

    def __call__(self, moment: Moment) -> None:
        """Raises ``DataError`` where a sketch is not finite."""
        started = time.perf_counter()
        setup, place = self.setup, len(self.points)

        def on_examples(examples: int) -> None:
            self.on_examples(place, moment.step, examples)

        given = moment.denominator, setup.memory, on_examples
        of_pool, of_test = setup.requests(self.seed)
        ours = sketch_each(setup.tape, setup.pool, of_pool, *given)
        theirs = sketch_each(setup.tape, setup.test, of_test, *given)
        self.add(moment.step, ours, theirs)
        self.spent += time.perf_counter() - started
        self.trained = moment.seconds
        self.own_counted = moment.own_counted

    def add(self, step: int, of_pool: list[list[Tensor]], of_test: list[list[Tensor]]) -> None:
        """Take the sketches of one point as ``sketch_each`` gives them. Raises ``DataError`` where one is not finite."""
        ours, *our_wide = of_pool
        theirs, *their_wide = of_test
        train = [finite(x, "pool", self.pool, step) for x in ours]
        tests = [finite(x, "test", self.test, step) for x in theirs]
        if our_wide:
            self.products.append(Estimated.of(our_wide[0], their_wide[0]))
        divided, split = train[1:] or (None, None)
        self.points.append(SketchPoint(step, train[0], tests[0], divided, split, *tests[1:]))

    @property
    def steps(self) -> list[int]:
        """The points so far."""
        return [point.step for point in self.points]

    def sketches(
        self, rates: Float[np.ndarray, " step"], scales: Float[np.ndarray, "point pool"] | None
    ) -> GradientSketches:
        """All that was taken along a run of these step sizes; ``scales`` as ``reference_run.step_scales`` gives them."""
        points = self.points
        if scales is not None:
            points = [_scaled(point, own) for point, own in zip(points, scales, strict=True)]
        return GradientSketches(
            seed=self.seed,
            steps=np.array(self.steps, dtype=np.int64),
            learning_rates=rates,
            dimensions=self.setup.dimensions,
            modules=self.setup.modules,
            points=tuple(points),
            products=scaled_products(self._products(rates), scales) if self.products else None,
            seconds=self.spent + self.trained,
            own_counted=self.own_counted,
        )

    def _products(self, rates: Float[np.ndarray, " step"]) -> GradientProducts:
        return products_of(self.products, self.seed, self.steps, rates, self.own_counted)


@dataclass(frozen=True, slots=True)
class Estimated:
    """Gradient products at one point, as in ``GradientProducts``, estimated from wide sketches."""

    raw: Float[np.ndarray, "pool test"]
    preconditioned: Float[np.ndarray, "pool test"]
    self_raw: Float[np.ndarray, " pool"]
    self_preconditioned: Float[np.ndarray, " pool"]

    @classmethod
    def of(cls, pool: list[Tensor], test: list[Tensor]) -> "Estimated":
        """From sketches of plain gradients and, where there is a denominator, of those divided by its root."""
        raw, own = (pool[0] @ test[0].T).cpu().numpy(), pool[0].square().sum(dim=1).cpu().numpy()
        if len(pool) == 1:
            return cls(raw, np.full_like(raw, np.nan), own, np.full_like(own, np.nan))
        divided, own_divided = pool[1] @ test[1].T, pool[1].square().sum(dim=1)
        return cls(raw, divided.cpu().numpy(), own, own_divided.cpu().numpy())


def products_of(
    found: Sequence[Estimated], seed: int, steps: Sequence[int], rates: Float[np.ndarray, " step"], own_counted: bool
) -> GradientProducts:
    """The products estimated at all points of a run.

    Args:
        found: those at each.
        seed: of the run.
        steps: the points.
        rates: the run's step sizes.
        own_counted: as in ``GradientProducts``.
    """
    return GradientProducts(
        seed=seed,
        steps=np.array(steps, dtype=np.int64),
        learning_rates=rates,
        raw=np.stack([one.raw for one in found]),
        preconditioned=np.stack([one.preconditioned for one in found]),
        self_raw=np.stack([one.self_raw for one in found]),
        self_preconditioned=np.stack([one.self_preconditioned for one in found]),
        own_counted=own_counted,
    )


def _scaled(point: SketchPoint, by: Float[np.ndarray, " pool"]) -> SketchPoint:
    """The point with pool gradients that count by these factors."""
    each = by[:, None].astype(np.float32)
    return replace(
        point,
        train=point.train * each,
        preconditioned=None if point.preconditioned is None else point.preconditioned * each,
        split_train=None if point.split_train is None else point.split_train * each,
    )


def finite(values: Tensor, side: str, examples: Sequence[Example], step: int) -> Float[np.ndarray, "example d"]:
    """Sketches as 32-bit floats in memory.

    Args:
        values: one row an example.
        side: what messages call it.
        examples: whose they are.
        step: of the reference run.

    Raises ``DataError`` for the first that is not finite.
    """
    good = torch.isfinite(values).all(dim=1)
    if not good.all():
        which = examples[int((~good).int().argmax())].id
        raise DataError(
            f"the gradient of {side} example {which!r} is not finite at step {step} of the reference run",
            "lower --lr, or look at this example",
        )
    return np.asarray(values.cpu().numpy().astype(np.float32))
