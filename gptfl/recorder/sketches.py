"""Gradient sketches along somebody's own run, as ``collect --sketches`` takes them along a reference run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from gptfl.core import Example, GradientSketches, SketchPoint
from gptfl.core.recording_settings import MEANS, PER_TOKEN
from gptfl.errors import DataError, UsageError
from gptfl.recorder.losses import undisturbed
from gptfl.recorder.rows import IGNORED, LabelledTokens
from gptfl.recorder.sketch_files import KeptSketches, read_point, write_point
from gptfl.training.gradient_sketches import Estimated, Sketching, SketchSetup
from gptfl.training.gradients.blocks import default_memory
from gptfl.training.gradients.denominators import batch_share, counts_own
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape
from gptfl.training.live import LiveNetwork, followed_optimiser
from gptfl.training.reference_run import Moment, check_against_autograd, denominator_of, step_scales
from gptfl.training.token_rows import TokenRow

INSTEAD = "sketch other weights (sketch_modules='*attn*'), or leave sketches_at out"
OF_POOL = ("train", "preconditioned", "split_train")
OF_TEST = ("test", "split_test")
PRODUCTS = ("raw", "preconditioned", "self_raw", "self_preconditioned")
PREFIX = "product "
"""What names the products of a point in its file."""


@dataclass
class LiveSketches:
    """Takes sketches of the pool's and the test examples' gradients while somebody trains; call it after each step.

    ``points`` are the steps to take them at. ``loss_mean`` says what the training's loss is the mean over.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    points: tuple[int, ...]
    model: Any
    optimiser: Any
    loss_mean: str
    sketching: Sketching
    seed: int
    began: float
    clipped: list[float] = field(default_factory=list)
    spent: float = 0.0
    written: dict[int, str] = field(default_factory=dict)
    """The digests of the points' files, where they were written."""

    @classmethod
    def of(
        cls,
        examples: tuple[tuple[Example, ...], tuple[Example, ...]],
        tokens: tuple[Sequence[LabelledTokens], Sequence[LabelledTokens]],
        model: Any,
        optimiser: Any,
        points: tuple[int, ...],
        *,
        seed: int,
        dimensions: int,
        modules: str | None,
        loss_mean: str | None,
        name: str,
    ) -> "LiveSketches":
        """What takes the sketches of a run's examples while it trains, pool first.

        Args:
            examples: pool and test.
            tokens: of the same.
            model: that is trained.
            optimiser: that trains it; its state preconditions.
            points: steps at which sketches are taken.
            seed: of the projection.
            dimensions: numbers of a sketch.
            modules: pattern of the modules whose weights count, None for all.
            loss_mean: what the loss is the mean over.
            name: of the model, for messages.

        Raises ``DataError`` for an optimiser or a model that can't be followed, and ``UsageError`` where it isn't said
        what the loss is the mean over.
        """
        if loss_mean not in MEANS:
            raise UsageError(
                f"loss_mean is {loss_mean!r}, and sketches weigh examples as the training's loss does",
                "give loss_mean='tokens' where it is the mean over a batch's tokens, 'examples' where over its examples",
            )
        optimiser = followed_optimiser(optimiser)
        pool, test = (Side([_row(one) for one in side]) for side in tokens)
        with undisturbed(model), torch.enable_grad():
            network = LiveNetwork(model, None, name)
            tape = Tape(network, modules)
            try:
                check_against_autograd(tape, pool)
            except DataError as error:
                raise DataError(f"{name}: {error.problem}", INSTEAD) from error
            setup = SketchSetup(tape, pool, test, dimensions, modules, default_memory(network.device))
        sketching = Sketching(*examples, seed, setup, lambda point, step, count: None)
        return cls(*examples, points, model, optimiser, loss_mean, sketching, seed, time.perf_counter())

    def __call__(self, step: int, batches: Int[np.ndarray, "step batch"]) -> float | None:
        """Take the sketches of this step, if it is one of the points; returns what that took, in seconds.

        ``batches`` are those of the steps until now.
        """
        if step not in self.points or step in self.sketching.steps:
            return None
        begun = time.perf_counter()
        network = self.sketching.setup.tape.network
        # A run that goes on counts as it began, whatever number of steps is planned by now.
        own = self.sketching.own_counted if self.sketching.steps else counts_own(max(self.points))
        share = batch_share(batches) * (float(np.mean(self.clipped)) if self.clipped else 1.0)
        with undisturbed(self.model), torch.enable_grad():
            self.sketching(Moment(step, denominator_of(network, self.optimiser, share if own else None), 0.0, own))
        took = time.perf_counter() - begun
        self.spent += took
        return took

    def keep(self, folder: Path) -> KeptSketches:
        """Put the points so far into files, those that aren't there; what to say of them in a checkpoint.

        Raises ``ResourceError`` if they can't be written.
        """
        taken = self.sketching
        for place, point in enumerate(taken.points):
            if point.step in self.written:
                continue
            arrays = {name: getattr(point, name) for name in OF_POOL + OF_TEST}
            if taken.products:
                arrays |= {f"{PREFIX}{name}": getattr(taken.products[place], name) for name in PRODUCTS}
            arrays = {name: one for name, one in arrays.items() if one is not None}
            self.written[point.step] = write_point(folder, point.step, arrays)
        setup = taken.setup
        return KeptSketches(
            setup.dimensions, setup.modules, dict(self.written), tuple(self.clipped), taken.spent, taken.own_counted
        )

    def load(self, kept: KeptSketches, folder: Path) -> None:
        """Go on from the points that ``keep`` kept. Raises ``DataError`` where one is missing, or of another run."""
        taken, shapes, wide = self.sketching, self._shapes(), bool(self.sketching.setup.wide)
        needed = {"train", "test"} | ({PREFIX + name for name in PRODUCTS} if wide else set())
        for step, digest in kept.points.items():
            arrays = read_point(folder, step, digest, shapes, frozenset(shapes.keys() - needed))
            some = {name: arrays.get(name) for name in OF_POOL + OF_TEST}
            taken.points.append(SketchPoint(step, **some))  # type: ignore[arg-type]  # train and test are needed
            if wide:
                taken.products.append(Estimated(**{name: arrays[PREFIX + name] for name in PRODUCTS}))
        self.clipped, self.written = list(kept.clipped), dict(kept.points)
        taken.spent, taken.own_counted = kept.seconds, kept.own_counted

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what the file of a point may hold."""
        pool, test, setup = len(self.pool), len(self.test), self.sketching.setup
        found: dict[str, tuple[int, ...]] = dict.fromkeys(OF_POOL, (pool, setup.dimensions))
        found |= dict.fromkeys(OF_TEST, (test, setup.dimensions))
        if setup.wide:
            found |= {PREFIX + name: (pool,) if name.startswith("self") else (pool, test) for name in PRODUCTS}
        return found

    def sketches(self, rates: Sequence[float]) -> GradientSketches | None:
        """What was taken along the run of these step sizes; None where no point was reached."""
        if not self.sketching.steps:
            return None
        tokens = np.array([len(row.tokens) for row in self.sketching.setup.pool.rows])
        scales = step_scales(tokens, self.loss_mean == PER_TOKEN, self.clipped, self.sketching.steps)
        return self.sketching.sketches(np.array(rates, dtype=np.float64), scales)


def _row(one: LabelledTokens) -> TokenRow:
    labels = np.array(one.labels)
    places = np.flatnonzero(labels[1:] != IGNORED) + 1
    return TokenRow(tuple(one.ids[: int(places[-1])]), places - 1, labels[places], np.zeros(len(places), dtype=int))
