"""Metagradients: how the loss at the end of a training changes with the weight of each training example in it.

Training with the weights w on the examples' losses, all 1 for the recipe, ends at θ(w). The metagradient dL(θ(w))/dw is
exact: the training is gone through backwards, step by step (Maclaurin et al., 2015; MAGIC, Ilyas and Engstrom, 2025).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.core.recording_settings import ADAMW
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.plugins.interfaces import Plan
from gptfl.training.batching import plan_batches
from gptfl.training.forward import explained
from gptfl.training.gradients.adjoints import (
    AdamStep,
    Adjoint,
    back_through_batch,
    back_through_clipping,
    shortening,
)
from gptfl.training.gradients.blocks import default_memory
from gptfl.training.gradients.sides import Side, computed_plainly, measured_exactly
from gptfl.training.network import Batch, Network
from gptfl.training.replay import PassedStep, Replay, TrainingState
from gptfl.training.trainer import RecordingTrainer

STATE, PASSED, CARRIED = 3, 4, 6
"""Numbers for each trained weight: of a state that is kept, of a step that is about to be gone back through, and of what
is carried backwards for one target, with what a step makes of it."""
TOLERANCE = 1e-2
"""How far a squared length may lie from autograd's, as a share of it."""


@dataclass(frozen=True, slots=True)
class Metagradients:
    """How final losses change with the weights of the training examples in their batches' losses.

    ``values`` are dL/dw, [pool, target], in nats: minus these is, to first order, what a target's loss changes by where
    an example's losses count nothing in the training. ``losses`` are those at its end.
    """

    values: Float[np.ndarray, "pool target"]
    losses: Float[np.ndarray, " target"]


@dataclass(slots=True)
class _Carried:
    """What one target's loss changes by with the training's state where the sweep stands, and with the weights of examples."""

    adjoints: list[Adjoint]
    values: Float[np.ndarray, " pool"] = field(repr=False)


def metagradients(
    trainer: RecordingTrainer,
    plan: Plan,
    test: Side,
    targets: Sequence[Sequence[int]],
    memory: int | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Metagradients:
    """How the losses at the end of a training change with the weight of each pool example, in every step that has it.

    About 2√T states of a training of T steps are held at once. Targets are carried together as far as memory allows, for
    the training is made anew for each lot of them. The weights are those of the start again afterwards.

    Args:
        trainer: makes the training, on its pool.
        plan: its batches and seed.
        test: the test examples, as tokens.
        targets: places of test examples, the mean of whose losses is asked about.
        memory: bytes that states and what is carried may take; None for what the device has room for.
        on_step: told after each step forwards or backwards how many are done, and of how many.

    Raises ``DataError`` for a recipe that can't be gone through backwards, a model that can't be differentiated twice, and
    a training whose loss or metagradient isn't finite.
    """
    check_recipe(trainer)
    replay = Replay(trainer, plan)
    length = max(1, math.isqrt(max(replay.steps - 1, 0)) + 1)
    lots = list(_lots(replay, len(targets), length, memory))
    done, total = 0, (1 + 2 * len(lots)) * replay.steps

    def count() -> None:
        nonlocal done
        done += 1
        on_step(done, total)

    values, losses = np.zeros((len(trainer.rows), len(targets))), np.zeros(len(targets))
    try:
        with computed_plainly(replay.network), explained(lambda why: _refusal(replay.network, why)):
            check_twice(replay.network, trainer.pieces(plan.batches[0])[0])
            kept, end = _forwards(replay, length, count)
            for lot in lots:
                replay.stand_at(end)
                carried = []
                for place in lot:
                    losses[place], gradients = _at_end(replay.network, test, targets[place])
                    carried.append(_Carried([Adjoint.at_end(g) for g in gradients], values[:, place]))
                for first in reversed(range(0, replay.steps, length)):
                    passed = replay.segment(first, min(first + length, replay.steps), kept[first])
                    for _ in passed:
                        count()
                    while passed:
                        _back(replay, passed.pop(), carried)
                        count()
    finally:
        replay.network.switch(training=False)
        replay.network.restore()
    return Metagradients(values, losses)


def check_recipe(trainer: RecordingTrainer) -> None:
    """Raise ``DataError`` where a recipe isn't AdamW's in float32 on one process."""
    recipe = trainer.recipe
    if recipe.optimiser != ADAMW:
        raise DataError(f"metagradients go back through AdamW, and the optimiser is {recipe.optimiser}", f"use {ADAMW}")
    if recipe.precision != "fp32":
        raise DataError(f"metagradients are taken in fp32, and the precision is {recipe.precision}", "use fp32")
    if trainer.group.size > 1:
        raise DataError(
            f"metagradients are taken by one process, and {trainer.group.size} train together", "use one process"
        )


def check_twice(network: Network, batch: Batch) -> None:
    """Hold the products that the graph of a batch's gradient gives against that gradient's squared length.

    A function of torch that is differentiable once alone leaves that graph without a word.

    Args:
        network: at any weights.
        batch: some rows.

    Raises ``DataError`` where they differ.
    """
    with measured_exactly(network), torch.enable_grad(), uninterrupted():
        gradients = torch.autograd.grad(network.loss(batch), network.trainable, allow_unused=True)
        products, _ = next(back_through_batch(network, batch, [gradients]))
    got = float(products.double().sum())
    expected = float(sum(g.double().square().sum() for g in gradients if g is not None))
    if not math.isclose(got, expected, rel_tol=TOLERANCE):
        raise _refusal(
            network, f"its second derivatives give {got:.4g} for a gradient of squared length {expected:.4g}"
        )


def _refusal(network: Network, why: str) -> DataError:
    name, kind = network.loaded.source.name, type(network.model).__name__
    return DataError(f"{name}: metagradients can't be taken in {kind}: {why}", "choose another model")


def _lots(replay: Replay, targets: int, length: int, memory: int | None) -> Iterator[range]:
    """Which targets are carried at once."""
    weights = sum(weight.numel() * weight.element_size() for weight in replay.network.trainable)
    held = weights * (STATE * (1 + -(-replay.steps // length)) + PASSED * length)
    room = (default_memory(replay.network.device) if memory is None else memory) - held
    size = max(1, min(targets, room // (CARRIED * weights)))
    for first in range(0, targets, size):
        yield range(first, min(first + size, targets))


def _forwards(replay: Replay, length: int, count: Callable[[], None]) -> tuple[dict[int, TrainingState], TrainingState]:
    """The training's state before every step that begins a segment, and at its end."""
    replay.begin()
    kept = {}
    for step in range(replay.steps):
        if step % length == 0:
            kept[step] = replay.state()
        replay.advance(step)
        count()
    return kept, replay.state()


def _at_end(network: Network, test: Side, members: Sequence[int]) -> tuple[float, list[Tensor]]:
    """The mean loss of some test examples at the present weights, and its gradient."""
    total, gradients = 0.0, [torch.zeros_like(weight) for weight in network.trainable]
    budget, overhead = (16384, 1024) if network.device.type != "cpu" else (1024, 32)
    with measured_exactly(network), torch.enable_grad():
        for batch in plan_batches([test.lengths[i] for i in members], budget, overhead):
            part = test.take([members[i] for i in batch])
            with uninterrupted():
                loss = network.loss(part.batch(network)) * (len(part) / len(members))
                found = torch.autograd.grad(loss, network.trainable, allow_unused=True)
            total += float(loss.detach())
            for gradient, one in zip(gradients, found, strict=True):
                if one is not None:
                    gradient.add_(one)
    return total, gradients


def _back(replay: Replay, passed: PassedStep, carried: Sequence[_Carried]) -> None:
    """Take everything that is carried from after a step to before it."""
    gradients = passed.gradients
    factor, norm = shortening(gradients, replay.trainer.recipe.clip_norm)
    directions = []
    with torch.no_grad():
        for one in carried:
            given = _back_through_adam(replay, passed, one, factor)
            directions.append(back_through_clipping(gradients, given, factor, norm))
    replay.stand_at(passed.before)
    replay.network.switch(training=True)
    members = replay.plan.batches[passed.step]
    parts = [part for part in replay.trainer.parts(members) if part]
    for part, batch in zip(parts, replay.trainer.pieces(members), strict=True):
        with uninterrupted():
            found = back_through_batch(replay.network, batch, directions)
            for one, (products, curved) in zip(carried, found, strict=True):
                _add(one, part, products, curved)
    if not all(np.isfinite(one.values).all() for one in carried):
        raise DataError(f"the metagradient isn't finite at step {passed.step + 1} of {replay.steps}", "lower --lr")


def _back_through_adam(replay: Replay, passed: PassedStep, one: _Carried, factor: float) -> list[Tensor | None]:
    """Take what is carried for one target through AdamW; returns what it changes by with the clipped gradient."""
    recipe = replay.trainer.recipe
    given: list[Tensor | None] = []
    for place, gradient in enumerate(passed.gradients):
        if gradient is None:  # the optimiser passed this weight over
            given.append(None)
            continue
        kept = passed.before.optimiser[place]
        count = 1 + (int(kept["step"]) if kept else 0)
        step = AdamStep(float(replay.rates[passed.step]), replay.decays[place], recipe.betas, recipe.epsilon, count)
        one.adjoints[place], pull = step.back(
            kept.get("exp_avg"), kept.get("exp_avg_sq"), gradient * factor, one.adjoints[place]
        )
        given.append(pull)
    return given


def _add(one: _Carried, part: Sequence[int], products: Tensor, curved: Sequence[Tensor | None]) -> None:
    """Count in what a piece of a batch gives, its rows in order; an example may be there twice."""
    np.add.at(one.values, np.asarray(part), products.double().cpu().numpy())
    for adjoint, more in zip(one.adjoints, curved, strict=True):
        if more is not None:
            adjoint.weight.add_(more)
