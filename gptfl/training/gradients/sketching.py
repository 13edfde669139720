"""Gradient sketches at points along a reference run."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.errors import DataError
from gptfl.interfaces import Plan
from gptfl.records import Example, GradientSketches, SketchPoint
from gptfl.training.gradients.blocks import GRAPH, Weights, default_memory, pieces_within
from gptfl.training.gradients.reference import Moment, check_against_autograd
from gptfl.training.gradients.sides import Side, test_side
from gptfl.training.gradients.sketch import Projection, project, sketches
from gptfl.training.gradients.tape import Tape
from gptfl.training.trainer import RecordingTrainer

POWERS = (1.0, 0.5)
"""Of what the optimiser divides by: whole for the pool's preconditioned gradients, split between the two sides."""


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

    @classmethod
    def of(
        cls,
        trainer: RecordingTrainer,
        dimensions: int,
        modules: str | None = None,
        test: Side | None = None,
        memory: int | None = None,
    ) -> "SketchSetup":
        """Lay out a trainer's examples; ``test`` is that side where it is laid out already.

        Raises ``DataError`` for a model whose gradients can't be taken apart by example, and where no trained weight
        has a name that matches ``modules``.
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
        projection = Projection(self.dimensions, seed, network.trainable[0])

        def work() -> int:
            block = self.tape.record(side)
            project(block, projection, lambda place, rows: ones[place][rows].flatten(), POWERS)
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
        return int(most)


class Sketching:
    """Takes the sketches of all examples' gradients at points of a reference run; call it at each of them.

    ``on_examples(point, step, examples)`` is told of examples that are done, the pool's first.
    """

    def __init__(
        self, trainer: RecordingTrainer, plan: Plan, setup: SketchSetup, on_examples: Callable[[int, int, int], None]
    ) -> None:
        self.trainer, self.plan, self.setup, self.on_examples = trainer, plan, setup, on_examples
        self.points: list[SketchPoint] = []
        self.spent = self.trained = 0.0

    def __call__(self, moment: Moment) -> None:
        """Raises ``DataError`` where a sketch is not finite."""
        started = time.perf_counter()
        setup, place = self.setup, len(self.points)

        def told(examples: int) -> None:
            self.on_examples(place, moment.step, examples)

        given = setup.dimensions, self.plan.seed, moment.denominator, setup.memory, told
        pool, test = self.trainer.pool, self.trainer.evaluator.test
        train = [_finite(x, "pool", pool, moment.step) for x in sketches(setup.tape, setup.pool, *given, POWERS)]
        tests = [_finite(x, "test", test, moment.step) for x in sketches(setup.tape, setup.test, *given, POWERS[1:])]
        divided, split = train[1:] or (None, None)
        self.points.append(SketchPoint(moment.step, train[0], tests[0], divided, split, *tests[1:]))
        self.spent += time.perf_counter() - started
        self.trained = moment.seconds

    def sketches(self, rates: Float[np.ndarray, " step"]) -> GradientSketches:
        """All that was taken along the run."""
        return GradientSketches(
            seed=self.plan.seed,
            steps=np.array([point.step for point in self.points], dtype=np.int64),
            learning_rates=rates,
            dimensions=self.setup.dimensions,
            modules=self.setup.modules,
            points=tuple(self.points),
            seconds=self.spent + self.trained,
        )


def _finite(values: Tensor, side: str, examples: tuple[Example, ...], step: int) -> Float[np.ndarray, "example d"]:
    good = torch.isfinite(values).all(dim=1)
    if not good.all():
        which = examples[int((~good).int().argmax())].id
        raise DataError(
            f"the gradient of {side} example {which!r} is not finite at step {step} of the reference run",
            "lower --lr, or look at this example",
        )
    return np.asarray(values.cpu().numpy().astype(np.float32))
