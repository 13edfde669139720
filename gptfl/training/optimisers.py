"""The optimisers that a run may be trained by, and what each knows of AdamW's settings."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from gptfl.core.recording_settings import ADAM_8BIT, ADAMW, MUON, SGD
from gptfl.training.quantised import bitsandbytes
from gptfl.training.quiet import quiet_imports

if TYPE_CHECKING:
    from gptfl.training.network import Network

Groups = list[dict[str, Any]]


class OptimiserSettings(Protocol):
    """What of ``TrainerSettings`` an optimiser is made of."""

    @property
    def learning_rate(self) -> float:
        """Of the first step, until each is told its own."""

    @property
    def optimiser(self) -> str:
        """One of ``OPTIMISERS``."""

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's decays."""

    @property
    def epsilon(self) -> float:
        """What AdamW adds to what it divides by."""

    @property
    def momentum(self) -> float | None:
        """Of SGD and Muon."""

    @property
    def weight_decay(self) -> float:
        """How much weights decay."""

    @property
    def decay(self) -> str:
        """Which weights decay."""


def make_optimiser(network: "Network", recipe: OptimiserSettings) -> torch.optim.Optimizer:
    """A fresh optimiser over the trainable weights. Raises ``ResourceError`` where a package for it is missing."""
    named = list(zip(network.names, network.trainable, strict=True))
    groups = _groups(network.model, named, recipe)
    if recipe.optimiser == ADAMW:
        return _adamw(groups, recipe)
    if recipe.optimiser == ADAM_8BIT:
        return _adam_8bit(groups, recipe)
    if recipe.optimiser == SGD:
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum or 0.0)
    if recipe.optimiser == MUON:
        return _muon(network, groups, recipe)
    return _adafactor(groups, recipe)


def check_package(optimiser: str) -> None:
    """Raise ``ResourceError`` where an optimiser's package can't be imported."""
    if optimiser == ADAM_8BIT:
        _bitsandbytes()


def _bitsandbytes() -> Any:
    with quiet_imports():
        return bitsandbytes(f"--optimiser {ADAM_8BIT}", f"use --optimiser {ADAMW}")


def decayed(model: nn.Module) -> set[str]:
    """The names of the weights that decay by the rule of transformers' Trainer: no biases, and none of norms."""
    with quiet_imports():
        from transformers import Trainer

    return set(Trainer.get_decay_parameter_names(None, model))


def _groups(model: nn.Module, named: Sequence[tuple[str, Tensor]], recipe: OptimiserSettings) -> Groups:
    if recipe.decay == "all":
        return [{"params": [weight for _, weight in named], "weight_decay": recipe.weight_decay}]
    decays = decayed(model)
    parts = (([w for name, w in named if (name in decays) == kept], kept) for kept in (True, False))
    return [{"params": part, "weight_decay": recipe.weight_decay if kept else 0.0} for part, kept in parts if part]


def _adamw(groups: Groups, recipe: OptimiserSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True)


def _adam_8bit(groups: Groups, recipe: OptimiserSettings) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = _bitsandbytes().optim.AdamW8bit(
        groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon
    )
    return made


def _adafactor(groups: Groups, recipe: OptimiserSettings) -> torch.optim.Optimizer:
    """As transformers' Trainer makes it: with step sizes from outside, and no scaling by the weights' size."""
    from transformers.optimization import Adafactor

    made: torch.optim.Optimizer = Adafactor(
        groups, lr=recipe.learning_rate, scale_parameter=False, relative_step=False, warmup_init=False
    )
    return made


def _muon(network: "Network", groups: Groups, recipe: OptimiserSettings) -> torch.optim.Optimizer:
    """Muon for the matrices inside the blocks, AdamW for all else; updates as large as AdamW's, so that one rate fits."""
    outside = [network.model.get_input_embeddings(), network.head]
    others = {id(p) for module in outside if module is not None for p in module.parameters()}

    def part(is_matrix: bool) -> Groups:
        chosen = [
            {**group, "params": [p for p in group["params"] if (p.dim() == 2 and id(p) not in others) == is_matrix]}
            for group in groups
        ]
        return [group for group in chosen if group["params"]]

    matrices, rest = part(True), part(False)
    made: list[torch.optim.Optimizer] = []
    if matrices:
        momentum = recipe.momentum or 0.0
        made.append(
            torch.optim.Muon(matrices, lr=recipe.learning_rate, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        )
    if rest:
        made.append(_adamw(rest, recipe))
    return made[0] if len(made) == 1 else JointOptimiser(made)


class JointOptimiser(torch.optim.Optimizer):
    """Several optimisers, each of its own weights, that step as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = parts
        super().__init__([p for part in parts for group in part.param_groups for p in group["params"]], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of each."""
        for part in self.parts:
            part.step(closure)
