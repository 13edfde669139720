"""Fits the recurrence to recorded runs as a whole: every pool and test example is projected once per
optimiser step, and all rows (run, interval, test example) go through a few matrix operations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.estimators.gptfluence.batches import IntervalCounts, join
from gptfl.estimators.gptfluence.mean_run import MeanExposure
from gptfl.estimators.gptfluence.pool_rows import SummedSides
from gptfl.estimators.gptfluence.recurrence import factors, recur
from gptfl.estimators.gptfluence.sides import StreamedSides, VectorSides
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import Coefficients, UpdateRule
from gptfl.estimators.gptfluence.windows import Windows, rolled_error

Offset = Callable[[Tensor, Tensor, Sequence[Int[np.ndarray, " recorded"]]], Float[Tensor, "interval test"]]
"""What the intervals of some grids, one grid after another, add to a recurrence of these projections."""


@dataclass(frozen=True, slots=True)
class TeacherRows:
    """All one-step-ahead targets of some runs; ``known`` is 1 where target and history were recorded, else 0.

    ``history`` holds phi_{t-1} ... phi_{t-n}, scaled as the law says already, and ``target`` is less what it keeps.
    """

    counts: IntervalCounts
    turned: IntervalCounts
    history: Float[Tensor, "order interval test"]
    target: Float[Tensor, "interval test"]
    known: Float[Tensor, "interval test"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the fit goes about it; ``epochs`` is an upper bound, an epoch being one pass over all rows.

    The learning rate rises over ``warm_up`` epochs, then falls linearly to 0 at the last; the roll-out of
    the validation runs is checked every ``check_every`` epochs, and ``patience`` epochs without one that is
    better by ``gain`` (a share of its MSE) end the fit.
    """

    learning_rate: float
    penalty: float
    epochs: int
    patience: int
    warm_up: int = 20
    check_every: int = 10
    gain: float = 0.005

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, relative to the highest."""
        return min((epoch + 1) / self.warm_up, 1.0) * (1.0 - epoch / max(self.epochs, 1))


@dataclass(frozen=True, slots=True)
class TrainedRecurrence:
    """The best parameters, the last epoch that gained clearly, and (epoch, validation MSE) of every check."""

    parameters: dict[str, Tensor]
    gained: int
    checks: list[tuple[int, float]]


def teacher_rows(runs: Sequence[Trajectory], order: int, law: UpdateRule, pool: int) -> TeacherRows:
    """The one-step-ahead objective of all runs; before the first score the history repeats it.

    Args:
        runs: batches and values of each run, on the scale of the fit.
        order: how many earlier values a step goes by.
        law: how batches count.
        pool: how many training examples there are.
    """
    counts = [law.counts(run.batches[None], rates_of([run]), run.steps, pool) for run in runs]
    history, target = [], []
    for run, seen in zip(runs, counts, strict=True):
        values = torch.from_numpy(np.array(run.values, dtype=np.float32))
        at = torch.arange(len(values) - 1)
        past = torch.stack([values[(at - j).clamp(min=0)] for j in range(order)])
        motion = law.motion(seen)
        history.append(past * motion.scale[:, None])
        target.append(values[1:] if motion.keep is None else values[1:] - motion.keep[:, None] * values[:-1])
    joined, past, following = join(counts), torch.cat(history, 1), torch.cat(target)
    known = past.isfinite().all(0) & following.isfinite() & (joined.sizes > 0)[:, None]
    return TeacherRows(
        joined,
        joined.turned(pool),
        torch.where(known, past, 0.0),
        torch.where(known, following, 0.0),
        known.to(torch.float32),
    )


def one_step_error(
    train: Float[Tensor, "factor pool rank"], test: Float[Tensor, "factor test rank"], rows: TeacherRows
) -> Float[Tensor, ""]:
    """Sum of the squared one-step-ahead errors over all that was recorded (the paper's objective)."""
    factor = factors(train, test, rows.counts, rows.turned)
    predicted = factor[-1]
    for j, past in enumerate(rows.history):
        predicted = torch.addcmul(predicted, factor[j], past)
    return ((predicted - rows.target) * rows.known).square().sum()


def parts_within(runs: Sequence[Trajectory], order: int, max_bytes: int = 256 * 2**20) -> list[list[Trajectory]]:
    """Split the runs, in order, so that one part's rows and what is computed on them take that much at most.

    One run is the least, however large it is.
    """
    parts: list[list[Trajectory]] = []
    taken = 0
    for run in runs:
        # history, target and mask; factors and their gradients; prediction, residual and theirs
        needed = run.values.size * 4 * (order + 2 + 2 * (order + 1) + 4)
        if not parts or taken + needed > max_bytes:
            parts.append([])
            taken = 0
        parts[-1].append(run)
        taken += needed
    return parts


def rates_of(runs: Sequence[Trajectory]) -> Float[np.ndarray, "run step"] | None:
    """The learning rates of runs of equal length; None where they aren't known."""
    known = [run.rates for run in runs if run.rates is not None]
    return np.stack(known) if len(known) == len(runs) else None


class FreeRunning:
    """All-steps MSE of roll-outs from the first recorded score, which itself is left out.

    ``push``, where given, makes what each interval of a grid adds to the recurrence from both sides' projections.
    """

    def __init__(self, runs: Sequence[Trajectory], law: UpdateRule, pool: int, push: Offset | None = None) -> None:
        self.push = push
        self.parts: list[tuple[IntervalCounts, Coefficients, Tensor, Int[np.ndarray, " recorded"]]] = []
        grids: dict[bytes, list[Trajectory]] = {}
        for run in runs:
            grids.setdefault(run.steps.tobytes(), []).append(run)
        for group in grids.values():
            steps = group[0].steps
            each = [law.counts(run.batches[None], rates_of([run]), steps, pool) for run in group]
            counts = join(each)
            values = torch.from_numpy(np.stack([run.values for run in group]).astype(np.float32))
            self.parts.append((counts, law.motion(counts).view(len(group), len(steps) - 1), values, steps))

    def __call__(self, train: Tensor, test: Tensor) -> float:
        """Infinite where a roll-out leaves the range of numbers."""
        error, known = 0.0, 0
        for counts, motion, values, steps in self.parts:
            runs, recorded, tests = values.shape
            factor = [one.view(runs, recorded - 1, tests) for one in factors(train, test, counts)]
            if self.push is not None:
                factor[-1] = factor[-1] + self.push(train, test, [steps])
            rolled = recur(factor, motion, [values[:, 0]] * (len(factor) - 1))
            there = (values.isfinite() & values[:, :1].isfinite())[:, 1:]
            error += float((rolled - values)[:, 1:][there].double().square().sum())
            known += int(there.sum())
        return error / known if math.isfinite(error) else math.inf


def fit(
    sides: VectorSides | SummedSides,
    parts: Sequence[TeacherRows] | Sequence[Windows],
    validation: FreeRunning,
    schedule: Schedule,
    parameters: dict[str, Tensor],
    on_check: Callable[[int, float], None],
) -> TrainedRecurrence:
    """The parameters of least mean squared error (one-step, or of windows' roll-outs) + penalty * ||parameters||^2.

    Adam, whose weight decay is here the penalty's exact gradient. Kept are the parameters whose free-running
    roll-outs of the validation runs are best.

    Args:
        sides: the vectors of training and test examples.
        parts: the rows, split to bound memory; their gradients add up to that of the whole.
        validation: rolls out the validation runs.
        schedule: learning rate, penalty, epochs and how often to check.
        parameters: to begin with; they are copied.
        on_check: called with the epoch and the validation error.
    """
    parameters = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    known = sum(float(rows.known.sum()) for rows in parts)
    optimiser = torch.optim.Adam(
        parameters.values(), lr=schedule.learning_rate, weight_decay=2 * schedule.penalty, fused=True
    )
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.rate)
    best, best_error, gained, mark = _copy(parameters), math.inf, 0, math.inf
    checks: list[tuple[int, float]] = []
    for epoch in range(schedule.epochs + 1):
        train, test = sides.project(parameters)
        if epoch % schedule.check_every == 0 or epoch == schedule.epochs:
            error = validation(train.detach(), test.detach())
            checks.append((epoch, error))
            on_check(epoch, error)
            if error < best_error:
                best, best_error = _copy(parameters), error
            if error < mark * (1 - schedule.gain):
                gained, mark = epoch, error
        if epoch == schedule.epochs or epoch - gained >= schedule.patience:
            break
        leaves = [side.detach().requires_grad_() for side in (train, test)]
        for rows in parts:
            (_error(leaves[0], leaves[1], rows, validation.push) / known).backward()  # type: ignore[no-untyped-call]
        optimiser.zero_grad()
        torch.autograd.backward((train, test), [leaf.grad for leaf in leaves])
        optimiser.step()
        decay.step()
    return TrainedRecurrence(best, gained, checks)


def _error(train: Tensor, test: Tensor, part: TeacherRows | Windows, push: Offset | None) -> Tensor:
    if isinstance(part, TeacherRows):
        return one_step_error(train, test, part)
    return rolled_error(train, test, part, None if push is None else push(train, test, part.grids))


Objective = list[TeacherRows] | list[Windows]


def in_reach(
    sides: VectorSides | StreamedSides, parts: Objective, validation: FreeRunning
) -> tuple[VectorSides | SummedSides, Objective]:
    """Sides that can be projected as a whole, and the objective on them.

    Where the pool isn't in memory, every interval counts as one example of its own, whose projection is the sum of its
    members'.

    Args:
        sides: the vectors of training and test examples.
        parts: the rows or windows to fit.
        validation: is changed alike.
    """
    if isinstance(sides, VectorSides):
        return sides, parts
    summed = SummedSides(sides.form, sides.train, sides.test)
    placed = [summed.place(part.counts) for part in parts]
    validation.parts = [(summed.place(one[0]), *one[1:]) for one in validation.parts]
    push = validation.push
    if isinstance(push, MeanExposure):
        counts = summed.place(push.counts)
        validation.push = replace(push, counts=counts, turned=counts.turned(summed.intervals))
    rows: list[Any] = list(parts)
    turned = [counts.turned(summed.intervals) for counts in placed]
    made = zip(rows, placed, turned, strict=True)
    return summed, [replace(part, counts=counts, turned=other) for part, counts, other in made]


def _copy(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in parameters.items()}
