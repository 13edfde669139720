"""Derivatives backwards through one training step: AdamW, the clipping of its gradient, and the weighted batch below it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.training.network import Batch, Network

CLIP_EPSILON = 1e-6
"""What torch adds to a gradient's norm before it divides by it."""


@dataclass(frozen=True, slots=True)
class Adjoint:
    """What an output changes by with one weight tensor and with AdamW's state of it, each of the weight's shape.

    ``root`` is the derivative by the root √v of the second moment v. A step makes √v' = √(β₂ v + (1 - β₂) g²) of it, the
    length of a vector, whose derivatives are at most 1. By v itself they have no bound where v is near 0.
    """

    weight: Tensor
    first: Tensor
    root: Tensor

    @classmethod
    def at_end(cls, gradient: Tensor) -> "Adjoint":
        """After the last step: no output depends on the moments that are left over."""
        return cls(gradient, torch.zeros_like(gradient), torch.zeros_like(gradient))


@dataclass(frozen=True, slots=True)
class AdamStep:
    """A step of AdamW on one weight tensor, as torch carries it out.

    m' = β₁ m + (1 - β₁) g, v' = β₂ v + (1 - β₂) g², θ' = (1 - η λ) θ - η m' / (1 - β₁ᵗ) / (√(v' / (1 - β₂ᵗ)) + ε).

    Args:
        rate: η, the step size.
        decay: λ, the weight decay.
        betas: of the moments.
        epsilon: added to the root.
        count: t, which of its steps it is, from 1.
    """

    rate: float
    decay: float
    betas: tuple[float, float]
    epsilon: float
    count: int

    def back(
        self, first: Tensor | None, second: Tensor | None, gradient: Tensor, after: Adjoint
    ) -> tuple[Adjoint, Tensor]:
        """What the output changes by with the state before the step, and with the step's gradient.

        Where √v' is 0, its derivatives are taken to be 0: neither the gradient nor any before it reached this number, so
        that it moved by weight decay alone.

        Args:
            first: m before the step; None where the weight never had a gradient.
            second: v before the step, None likewise.
            gradient: g, as the optimiser was given it.
            after: what the output changes by with the state after the step.
        """
        one, two = self.betas
        moved, squares = gradient * (1 - one), gradient.square() * (1 - two)
        if first is not None and second is not None:
            moved.add_(first, alpha=one)
            squares.add_(second, alpha=two)
        root = squares.sqrt_()
        corrected = math.sqrt(1 - two**self.count)
        below = root / corrected + self.epsilon
        size = self.rate / (1 - one**self.count)
        by_first = after.first - after.weight / below * size
        by_root = after.root + after.weight * moved / below.square_() * (size / corrected)
        share = torch.where(root > 0, by_root / root, 0.0)
        before = Adjoint(
            after.weight * (1 - self.rate * self.decay),
            by_first * one,
            torch.zeros_like(share) if second is None else share * second.sqrt() * two,
        )
        return before, by_first * (1 - one) + share * gradient * (1 - two)


def shortening(gradients: Sequence[Tensor | None], longest: float | None) -> tuple[float, float]:
    """By what clipping shortens a gradient, and its norm; 1 where it doesn't.

    Args:
        gradients: of each weight tensor, None where it has none.
        longest: the largest norm allowed, None for any.
    """
    if longest is None:
        return 1.0, 0.0
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients if g is not None))
    return min(1.0, longest / (norm + CLIP_EPSILON)), norm


def back_through_clipping(
    gradients: Sequence[Tensor | None], after: Sequence[Tensor | None], factor: float, norm: float
) -> list[Tensor | None]:
    """What the output changes by with the gradient before it is clipped.

    The clipped gradient is c g with c = L / (|g| + 1e-6), and ∂c/∂g = -c / (|g| + 1e-6) · g / |g|.

    Args:
        gradients: g, of each weight tensor, None where it has none.
        after: what the output changes by with the clipped gradient, of each weight tensor.
        factor: c, 1 for a gradient that is short enough.
        norm: |g|.
    """
    if factor >= 1.0:
        return list(after)
    pairs = list(zip(gradients, after, strict=True))
    along = sum(float((g.double() * a.double()).sum()) for g, a in pairs if g is not None and a is not None)
    pull = factor * along / ((norm + CLIP_EPSILON) * norm)
    return [None if g is None or a is None else a * factor - g * pull for g, a in pairs]


def weighted_loss(network: Network, batch: Batch, weights: Float[Tensor, " row"]) -> Float[Tensor, ""]:
    """The loss of a batch in which each row counts by its weight; what the mean is divided by stays.

    Args:
        network: that computes it.
        batch: the rows.
        weights: one for each row, 1 for the loss that is trained on.
    """
    each = weights.repeat_interleave(batch.counts.to(weights.device))
    return -(network.log_probs(batch) * batch.weights * each).sum()


def back_through_batch(
    network: Network, batch: Batch, directions: Sequence[Sequence[Tensor | None]]
) -> Iterator[tuple[Float[Tensor, " row"], list[Tensor | None]]]:
    """For each direction u what u·g changes by with the weights of the batch's rows, and with the trained weights.

    g is the gradient of the batch's loss: the former are the products u·∇L of the rows as they count in it, the latter
    the Hessian's product with u. Both come of one pass backwards through the graph of g, which is made once.

    Args:
        network: at the weights of the step, in the mode in which it was trained.
        batch: the rows.
        directions: each one tensor a trained weight, None for zeros.
    """
    marks = torch.ones(len(batch.counts), dtype=network.trainable[0].dtype, device=network.device, requires_grad=True)
    gradients = torch.autograd.grad(
        weighted_loss(network, batch, marks), network.trainable, create_graph=True, allow_unused=True
    )
    inputs = (marks, *network.trainable)
    for place, direction in enumerate(directions):
        pairs = [(g, u) for g, u in zip(gradients, direction, strict=True) if g is not None and u is not None]
        if not pairs:  # no row of this part reaches what the direction is of
            yield torch.zeros_like(marks), [None] * len(network.trainable)
            continue
        found = torch.autograd.grad(
            [g for g, _ in pairs],
            inputs,
            [u for _, u in pairs],
            retain_graph=place + 1 < len(directions),
            allow_unused=True,
        )
        products = torch.zeros_like(marks) if found[0] is None else found[0]
        yield products, list(found[1:])
