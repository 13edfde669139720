"""A reference run, which is trained for nothing but the gradients along it, and how these are held."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core import GradientProducts
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import ScaledRows
from gptfl.core.packing import Batching
from gptfl.core.recording_settings import PER_TOKEN
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.plugins.interfaces import Plan
from gptfl.training.forward import explained
from gptfl.training.gradients.blocks import GRAPH, Arrangement, Weights, default_memory
from gptfl.training.gradients.denominators import Denominator, adam_divisor, batch_share, counts_own
from gptfl.training.gradients.layers import InseparableError
from gptfl.training.gradients.products import own_products
from gptfl.training.gradients.sides import Side, measured_exactly, test_side
from gptfl.training.gradients.tape import Tape
from gptfl.training.network import Network
from gptfl.training.trainer import RecordingTrainer

TOLERANCE = 1e-2
"""How far the squared length of a gradient, taken from the layers, may lie from autograd's, as a share of it."""
ROLE = "reference"
TOGETHER = 2**20
"""Products of each kind of so many pairs, at least, are made and kept together."""
LEAST = 256
"""And of so many training examples: the fewer, the oftener gradients of the test examples are written out."""


def reference_plan(pool: Int[np.ndarray, " open"] | int, batching: Batching | int, steps: int, seed: int) -> Plan:
    """A run that goes through the whole pool, or some of its places, in random order, again and again.

    Args:
        pool: how many examples it has, or the places to go through.
        batching: how batches are made, or how many examples they have.
        steps: of the run.
        seed: of the order.
    """
    batching = Batching(batching) if isinstance(batching, int) else batching
    places = np.arange(pool) if isinstance(pool, int) else pool
    return Plan(0, seed, ROLE, batching.fill(places, steps, seed))


@dataclass(frozen=True)
class Setup:
    """The two sides of the products for a trainer's pool and test examples, and how they are held.

    ``memory`` are the bytes that gradients take at most. Products of ``together`` training examples in a row are kept together.
    """

    tape: Tape
    pool: Side
    test: Side
    arrangement: Arrangement
    memory: int
    together: int

    @classmethod
    def of(cls, trainer: RecordingTrainer, memory: int | None = None) -> "Setup":
        """Lay out a trainer's examples in ``memory`` bytes.

        Raises ``DataError`` for a model whose gradients can't be taken apart by example.
        """
        tape = Tape(trainer.network)
        pool = Side(trainer.rows, trainer.hidden)
        test = test_side(trainer.network, trainer.tokenizer, trainer.evaluator)
        check_against_autograd(tape, pool)
        memory = memory or default_memory(trainer.network.device)
        weights = Weights.measured(tape, pool)
        taken = sum(weights.of(side, i) for side in (pool, test) for i in range(len(side)))
        together = max(LEAST, TOGETHER // max(len(test), 1))
        arrangement = Arrangement.fit(pool, test, weights, memory, together=together)
        return cls(tape, pool, test, arrangement, int(min(memory, taken * (1 + GRAPH))), together)


def check_against_autograd(tape: Tape, side: Side) -> None:
    """Raise ``DataError`` where the layers' gradients of one example don't add up to what autograd says."""
    order = sorted(range(len(side)), key=side.lengths.__getitem__)
    network = tape.network
    with explained(InseparableError):
        block = tape.record(side.take(order[:2]))
    got = torch.zeros((), dtype=torch.float64, device=network.device)
    for held in block.held.values():
        if held.whole is None:
            got += own_products(held, 1)[0]
        else:
            got += held.dense(block.count)[0].double().square().sum()
    expected = _squared_gradient(tape, side.take(order[:1]))
    if not torch.isclose(got, expected, rtol=TOLERANCE, atol=0.0):
        raise InseparableError(
            f"the squared length of one in {type(network.model).__name__} is {float(expected):.4g}, and its layers "
            f"give {float(got):.4g}"
        )


@uninterrupted()  # autograd calls hooks back, which would swallow a Ctrl-C
def _squared_gradient(tape: Tape, side: Side) -> Tensor:
    network = tape.network
    with measured_exactly(network):
        loss = network.loss(side.batch(network))
        weights = [network.trainable[place] for place in tape.places.values()]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    found = [gradient.double().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(found).sum()


def denominator_of(network: Network, optimiser: torch.optim.Optimizer, share: float | None) -> Denominator | None:
    """By what the optimiser divides a gradient now: AdamW as ``adam_denominator``, SGD by what momentum leaves out.

    A gradient's part in the steps of SGD with momentum m adds up to 1 / (1 - m) of it.
    """
    if not isinstance(optimiser, torch.optim.SGD):
        return adam_denominator(network, optimiser, share)
    left = 1.0 - optimiser.param_groups[0]["momentum"]
    return lambda place, rows, gradients: torch.full_like(gradients[0], left)


def adam_denominator(network: Network, optimiser: torch.optim.Optimizer, share: float | None) -> Denominator | None:
    """By what AdamW would divide an example's gradient in its next step, as ``adam_divisor`` has it; None before any.

    Args:
        network: whose weights are trained.
        optimiser: that trains them.
        share: of an example's gradient in its batch's; None for the state alone, in which the example has no part.
    """
    if not optimiser.state:
        return None
    group = optimiser.param_groups[0]
    decay, epsilon = group["betas"][1], group["eps"]

    def denominator(place: int, rows: slice, gradients: Tensor) -> Tensor:
        state = optimiser.state.get(network.trainable[place])
        second = state["exp_avg_sq"][rows].flatten() if state else None  # none: it never had a gradient
        steps = float(state["step"]) if state else 0.0
        return adam_divisor(second, steps, decay, epsilon, share, gradients)

    return denominator


@dataclass(frozen=True)
class Moment:
    """A point of the reference run, its weights in the network; ``seconds`` were spent on training it so far.

    ``own_counted`` is as in ``GradientSketches``. ``optimiser`` trains it, None where nothing does. ``share`` is the part of
    an example's gradient in its batch's, None where its own isn't counted.
    """

    step: int
    denominator: Denominator | None
    seconds: float
    own_counted: bool = False
    optimiser: torch.optim.Optimizer | None = None
    share: float | None = None


@dataclass(frozen=True)
class Followed:
    """What a reference run was like: its learning rates, and by what each step's gradient was shortened, if any was."""

    rates: Float[np.ndarray, " step"]
    clipped: tuple[float, ...] = ()

    def scales(self, trainer: RecordingTrainer, points: Sequence[int]) -> Float[np.ndarray, "point pool"] | None:
        """By what each pool example's gradient counts in a step at these points; None where all count alike.

        With a mean over tokens an example counts as its tokens over the pool's mean; with clipping, by the mean factor
        of the steps that are nearest to the point.
        """
        per_token = trainer.recipe.loss_mean == PER_TOKEN
        tokens = np.array([len(row.tokens) for row in trainer.rows])
        return step_scales(tokens, per_token, self.clipped, points)


def step_scales(
    tokens: Int[np.ndarray, " pool"], per_token: bool, clipped: Sequence[float], points: Sequence[int]
) -> Float[np.ndarray, "point pool"] | None:
    """By what the gradients of examples count in a step, as ``Followed.scales`` has it; None where all count alike.

    Args:
        tokens: how many each example has.
        per_token: whether the loss is the mean over a batch's tokens, so that longer examples count more.
        clipped: by what each step's gradient was shortened; empty where none was.
        points: the steps that are asked about.
    """
    scales = np.ones((len(points), len(tokens)))
    if per_token:
        scales *= tokens / tokens.mean()
    if len(clipped):
        steps = np.arange(len(clipped)) + 0.5
        nearest = np.abs(steps[:, None] - np.asarray(points)).argmin(axis=1)
        for place, point in enumerate(points):
            own = nearest == place
            if not own.any():
                own[max(0, min(point, len(own)) - 1)] = True
            scales[place] *= np.asarray(clipped)[own].mean()
    return None if (scales == 1.0).all() else scales


def follow_reference(
    trainer: RecordingTrainer,
    plan: Plan,
    points: Collection[int],
    visit: Callable[[Moment], None],
    own_counted: bool | None = None,
) -> Followed:
    """What the reference run was like, once it is carried out. The weights are those of the start again afterwards.

    Args:
        trainer: carries it out.
        plan: its batches and seed.
        points: steps at which ``visit`` is called.
        visit: looks at the weights there.
        own_counted: whether what divides an example's gradient counts that in, as ``GradientSketches`` has it;
            None where the length of the run decides (``counts_own``).

    Raises ``DataError`` where the run's loss is not finite.
    """
    total = len(plan.batches)
    rates = trainer.recipe.rates(total)
    torch.manual_seed(plan.seed)
    trainer.network.restore()
    optimiser = trainer.optimiser()
    seconds = 0.0
    clipped: list[torch.Tensor] = []
    share = batch_share(plan.batches)
    own = counts_own(total) if own_counted is None else own_counted
    # Only a step tells how much is cut off a gradient.
    last = max(points) if trainer.recipe.clip_norm is None else max(*points, 1)
    try:
        for step in range(last + 1):
            if step:
                started = time.perf_counter()
                loss = trainer.step(optimiser, trainer.pieces(plan.batches[step - 1]), float(rates[step - 1]))
                if not torch.isfinite(loss):
                    raise DataError(
                        f"the reference run's loss is {float(loss)} at step {step} of {total}", "lower --lr"
                    )
                if trainer.clipped is not None:
                    clipped.append(trainer.clipped)
                seconds += time.perf_counter() - started
            if step in points:
                # The optimiser's moments are of shortened gradients.
                part = share * float(torch.stack(clipped).mean()) if clipped else share
                divisor = denominator_of(trainer.network, optimiser, part if own else None)
                visit(Moment(step, divisor, seconds, own, optimiser, part if own else None))
    finally:
        trainer.network.restore()
    return Followed(rates, tuple(float(factor) for factor in clipped))


def scaled_products(found: GradientProducts, scales: Float[np.ndarray, "point pool"] | None) -> GradientProducts:
    """Products of pool gradients that count by these factors."""
    if scales is None:
        return found
    each, twice = scales.astype(np.float32), (scales**2).astype(np.float32)
    return replace(
        found,
        raw=_scaled(found.raw, each),
        preconditioned=_scaled(found.preconditioned, each),
        self_raw=found.self_raw * twice,
        self_preconditioned=found.self_preconditioned * twice,
    )


def _scaled(
    products: Float[np.ndarray, "point pool test"], by: Float[np.ndarray, "point pool"]
) -> Float[np.ndarray, "point pool test"]:
    if isinstance(products, BlockedProducts):
        return as_products(BlockedProducts([ScaledRows(*one) for one in zip(products, by, strict=True)]))
    return np.asarray(products * by[:, :, None])
