"""A training that is made again from states that were kept of it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.plugins.interfaces import Plan
from gptfl.training.trainer import RecordingTrainer


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A training before one of its steps: weights, the optimiser's state of each, empty before any gradient, and what is
    drawn next."""

    weights: list[Tensor]
    optimiser: list[dict[str, Any]]
    drawn: list[Tensor]


@dataclass(frozen=True, slots=True)
class PassedStep:
    """A step that was made: the state before it, and the gradient as it was before clipping, None where there is none."""

    step: int
    before: TrainingState
    gradients: list[Tensor | None]


class Replay:
    """A training along a plan that can be gone on with from any state that was kept.

    Its steps are the trainer's own, in float32 or better and on one process.

    Args:
        trainer: makes the steps; its weights are those of wherever the training stands.
        plan: its batches and seed.
    """

    def __init__(self, trainer: RecordingTrainer, plan: Plan) -> None:
        self.trainer, self.plan = trainer, plan
        self.steps = len(plan.batches)
        self.rates = trainer.recipe.rates(self.steps)
        self.network = trainer.network
        self.optimiser = trainer.optimiser()
        decays = {id(w): group["weight_decay"] for group in self.optimiser.param_groups for w in group["params"]}
        self.decays = [float(decays[id(weight)]) for weight in self.network.trainable]

    def begin(self) -> None:
        """From the weights before any training."""
        torch.manual_seed(self.plan.seed)
        self.network.restore()
        self.optimiser = self.trainer.optimiser()

    def state(self) -> TrainingState:
        """A copy of where the training is."""
        kept = (self.optimiser.state.get(weight, {}) for weight in self.network.trainable)
        weights = [weight.detach().clone() for weight in self.network.trainable]
        return TrainingState(weights, [{k: v.clone() for k, v in one.items()} for one in kept], self._drawn())

    def _drawn(self) -> list[Tensor]:
        device = self.network.device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

    def resume(self, state: TrainingState) -> None:
        """Go back to a state."""
        self.stand_at(state)
        self.optimiser = self.trainer.optimiser()
        for weight, kept in zip(self.network.trainable, state.optimiser, strict=True):
            if kept:
                self.optimiser.state[weight] = {name: value.clone() for name, value in kept.items()}

    def stand_at(self, state: TrainingState) -> None:
        """Put in the weights of a state, and draw next what was drawn from there."""
        with torch.no_grad():
            for weight, kept in zip(self.network.trainable, state.weights, strict=True):
                weight.copy_(kept)
        torch.set_rng_state(state.drawn[0])
        for drawn in state.drawn[1:]:
            torch.cuda.set_rng_state(drawn, self.network.device)

    def advance(self, step: int) -> list[Tensor | None]:
        """Make a step, counted from 0; returns the gradient before it is clipped. Raises ``DataError`` for a loss that
        isn't finite."""
        for group in self.optimiser.param_groups:
            group["lr"] = float(self.rates[step])
        self.network.switch(training=True)
        with uninterrupted():  # autograd calls hooks back, which would swallow a Ctrl-C
            loss = self.trainer.differentiate(self.trainer.pieces(self.plan.batches[step]))
        if not torch.isfinite(loss):
            raise DataError(f"the training's loss is {float(loss)} at step {step + 1} of {self.steps}", "lower --lr")
        gradients = [None if w.grad is None else w.grad.clone() for w in self.network.trainable]
        self.trainer.clip_gradients()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return gradients

    def segment(self, first: int, last: int, start: TrainingState) -> list[PassedStep]:
        """The steps from ``first`` to before ``last``, made anew from the state before them."""
        self.resume(start)
        passed = []
        for step in range(first, last):
            before = start if step == first else self.state()
            passed.append(PassedStep(step, before, self.advance(step)))
        return passed
