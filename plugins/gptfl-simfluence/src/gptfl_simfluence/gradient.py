"""The gradient fit: Adam on the teacher-forced error, as in the paper, from a start at which nothing changes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gptfl_simfluence.descent import Descent
from gptfl_simfluence.recurrence import Intervals

PATIENCE = 30
"""So many epochs without a better roll-out of the validation runs end the fit."""


@dataclass(frozen=True, slots=True)
class Found:
    """The parameters kept, the epoch they are of, and how many there were."""

    alpha: Float[np.ndarray, "pool test"]
    beta: Float[np.ndarray, "pool test"]
    best: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Targets:
    """All one-step-ahead targets, each test example in units of its root mean square value."""

    counts: Float[Tensor, "interval pool"]
    before: Float[Tensor, "interval test"]
    change: Float[Tensor, "interval test"]
    known: Float[Tensor, "interval test"]
    scale: Float[np.ndarray, " test"]


def targets_of(runs: Sequence[Intervals]) -> Targets:
    """Lay out the objective; what wasn't recorded counts for nothing."""
    recorded = np.concatenate([run.values for run in runs])
    there = np.isfinite(recorded)
    squares = np.where(there, recorded, 0.0) ** 2
    scale = np.sqrt(squares.sum(axis=0) / np.maximum(there.sum(axis=0), 1))
    scale = np.where(scale > 0, scale, 1.0)
    before = np.concatenate([run.values[:-1] for run in runs]) / scale
    change = np.concatenate([np.diff(run.values, axis=0) for run in runs]) / scale
    known = np.isfinite(change)
    numbers = (np.concatenate([run.counts for run in runs]), np.where(known, before, 0), np.where(known, change, 0))
    counts, start, step = (torch.from_numpy(array.astype(np.float32)) for array in numbers)
    return Targets(counts, start, step, torch.from_numpy(known.astype(np.float32)), scale)


def descend(
    runs: Sequence[Intervals],
    validation: Sequence[Intervals],
    form: str,
    how: Descent,
    seed: int,
    on_epoch: Callable[[int, float], None],
) -> Found:
    """Minimise, for each test example, mean squared one-step error + weight_decay * ||a, b||^2 by Adam.

    Both start at 0, where nothing changes. Kept is the epoch, 0 included, with the least all-steps error of the
    validation runs' roll-outs; without such runs the last. ``on_epoch`` gets each epoch and that error.
    """
    targets = targets_of(runs)
    shape = (targets.counts.shape[1], targets.before.shape[1])
    alpha = torch.zeros(shape, requires_grad=form != "additive")
    beta = torch.zeros(shape, requires_grad=form != "multiplicative")
    # Adam's weight decay is added to the gradient, so that twice the penalty is the penalty's own gradient.
    optimiser = torch.optim.Adam(
        [one for one in (alpha, beta) if one.requires_grad], lr=how.learning_rate, weight_decay=2 * how.weight_decay
    )
    random = np.random.default_rng(seed)
    best = epoch = 0
    kept, least = (_array(alpha), _array(beta)), math.inf
    for epoch in range(how.epochs + 1):
        found = _array(alpha), _array(beta) * targets.scale
        error = roll_out_error(validation, *found)
        on_epoch(epoch, error)
        is_known = not math.isnan(error)
        if error < least or not is_known:
            best, kept, least = epoch, found, error
        if epoch == how.epochs or (is_known and epoch - best >= PATIENCE):
            break
        order = torch.from_numpy(random.permutation(len(targets.counts)))
        for start in range(0, len(order), how.batch_size):
            rows = order[start : start + how.batch_size]
            counts, before = targets.counts[rows], targets.before[rows]
            predicted = before * (counts @ alpha) + counts @ beta
            error_now = ((predicted - targets.change[rows]) * targets.known[rows]).square().sum() / len(rows)
            optimiser.zero_grad()
            error_now.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Found(*kept, best, epoch)


def _array(parameter: Tensor) -> Float[np.ndarray, "pool test"]:
    return np.array(parameter.detach().numpy(), dtype=np.float64)


def roll_out_error(
    runs: Sequence[Intervals], alpha: Float[np.ndarray, "pool test"], beta: Float[np.ndarray, "pool test"]
) -> float:
    """All-steps mean squared error of free-running roll-outs from the first recorded values, which don't count.

    Infinite where one leaves all bounds, NaN where there is nothing to compare with.
    """
    total, known = 0.0, 0
    for run in runs:
        value = run.values[0]
        factors, terms = 1.0 + run.counts @ alpha, run.counts @ beta
        with np.errstate(over="ignore", invalid="ignore"):
            for factor, term, recorded in zip(factors, terms, run.values[1:], strict=True):
                value = value * factor + term
                there = np.isfinite(recorded) & np.isfinite(run.values[0])
                total += float(((value - recorded)[there] ** 2).sum())
                known += int(there.sum())
    if not known:
        return math.nan
    return total / known if math.isfinite(total) else math.inf
