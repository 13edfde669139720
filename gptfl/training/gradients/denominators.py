"""By what optimisers divide the gradients of single examples."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.training.gradients.factored import Block

Denominator = Callable[[int, slice, Tensor], Tensor]
"""``denominator(place, rows, gradients)`` is by what ``gradients``, (example, number), of these rows of a parameter are
divided: (example, number), or (number,) where all examples' are divided alike."""


SHORT = 32
"""Runs of fewer steps leave so many weights unmet that an example's own gradient has to count in what divides it."""


def counts_own(steps: int) -> bool:
    """Whether the own gradients of examples count in what divides them, along a run of so many steps."""
    # What it does to longer ones isn't settled: along 48 steps of errands, exposure-gp has a skill of 0.21 rather than 0.26
    # where it is fitted to six runs, and of 0.20 rather than 0.13 with twenty.
    return steps < SHORT


def batch_share(batches: Int[np.ndarray, "step batch"]) -> float:
    """What an example's gradient counts in its batch's, on average: one over the examples of a batch; -1 pads."""
    # Where the loss is the mean over tokens this is the share of an example of average length.
    return 1.0 / max(float((batches >= 0).sum(axis=1).mean()), 1.0) if len(batches) else 1.0


def adam_divisor(
    second: Float[Tensor, " number"] | None,
    steps: float,
    decay: float,
    epsilon: float,
    share: float | None,
    gradients: Float[Tensor, "example number"],
) -> Tensor:
    """By what AdamW would divide each example's gradient in a step that it takes part in: √v̂' + ε.

    v' is the second moment after that step, to which the gradient adds its own square, and v̂' is corrected for its
    start. A weight that hardly had a gradient so far has a v near 0, by which no step ever divides the first large
    one.

    Args:
        second: the moment v after the last step; None for a weight that never had a gradient.
        steps: how many steps it is of.
        decay: of the moment.
        epsilon: added to the root.
        share: of an example's gradient in its batch's; None leaves it out, for √v̂ + ε of the last step.
        gradients: of the examples.
    """
    if share is None:
        if second is None:
            return torch.full_like(gradients[0], epsilon)
        corrected: Tensor = second / (1 - decay**steps)
        return corrected.sqrt().add(epsilon)
    # A batch's gradient is the mean over its examples, so one of B adds g/B to it. What the others add is in v already,
    # as far as they meet these weights; where they don't, the batch's gradient is g/B and this is exact.
    squares = gradients.square().mul_((1 - decay) * share**2)
    if second is not None:
        squares.add_(second, alpha=decay)
    return squares.div_(1 - decay ** (steps + 1)).sqrt_().add_(epsilon)


def of_whole(denominator: Denominator, block: Block) -> Denominator:
    """The same for the parts that one example's gradient is the mean of: each is divided as the whole is.

    Args:
        denominator: of whole examples.
        block: the gradient of the one example.
    """
    writers = {place: held.writer(block.count) for place, held in block.held.items()}

    def of_parts(place: int, rows: slice, gradients: Tensor) -> Tensor:
        if place not in writers:
            return denominator(place, rows, torch.zeros_like(gradients[:1]))
        first, last = (0, block.held[place].rows) if rows.stop is None else (rows.start, rows.stop)
        return denominator(place, rows, writers[place](first, last))

    return of_parts
