"""Fits the recurrence to recorded runs as a whole: every pool and test example is projected once per
optimiser step, and all rows (run, interval, test example) go through a few matrix operations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.simulator.intervals import Counts, interval_counts, join
from gptfl.simulator.projection import Form, project
from gptfl.simulator.recurrence import factors, recur, size_scale


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What the fit needs of one run: its batches and what was recorded along it, NaN where nothing was."""

    batches: Int[np.ndarray, "step batch"]
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "recorded test"]


@dataclass(frozen=True, slots=True)
class Rows:
    """All one-step-ahead targets of some runs; ``known`` is 1 where target and history were recorded, else 0.

    ``history`` holds phi_{t-1} ... phi_{t-n}, scaled by n_modal / |c| already.
    """

    counts: Counts
    turned: Counts
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
class Fitted:
    """The best parameters, the last epoch that gained clearly, and (epoch, validation MSE) of every check."""

    parameters: dict[str, Tensor]
    gained: int
    checks: list[tuple[int, float]]


def teacher_rows(runs: Sequence[Trajectory], order: int, modal: int, pool: int) -> Rows:
    """Lay out the one-step-ahead objective of all runs; before the first score the history repeats it."""
    counts = [interval_counts(run.batches[None], run.steps, pool) for run in runs]
    history, target = [], []
    for run, seen in zip(runs, counts, strict=True):
        values = torch.from_numpy(np.array(run.values, dtype=np.float32))
        at = torch.arange(len(values) - 1)
        past = torch.stack([values[(at - j).clamp(min=0)] for j in range(order)])
        history.append(past * size_scale(seen.sizes, modal, values)[:, None])
        target.append(values[1:])
    joined, past, following = join(counts), torch.cat(history, 1), torch.cat(target)
    known = past.isfinite().all(0) & following.isfinite() & (joined.sizes > 0)[:, None]
    return Rows(
        joined,
        joined.turned(pool),
        torch.where(known, past, 0.0),
        torch.where(known, following, 0.0),
        known.to(torch.float32),
    )


def one_step_error(
    train: Float[Tensor, "factor pool rank"], test: Float[Tensor, "factor test rank"], rows: Rows
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


class FreeRunning:
    """All-steps MSE of roll-outs from the first recorded score, which itself is left out."""

    def __init__(self, runs: Sequence[Trajectory], modal: int, pool: int) -> None:
        self.modal = modal
        self.parts: list[tuple[Counts, Tensor]] = []
        grids: dict[bytes, list[Trajectory]] = {}
        for run in runs:
            grids.setdefault(run.steps.tobytes(), []).append(run)
        for group in grids.values():
            counts = join([interval_counts(run.batches[None], run.steps, pool) for run in group])
            values = np.stack([run.values for run in group]).astype(np.float32)
            self.parts.append((counts, torch.from_numpy(values)))

    def __call__(self, train: Tensor, test: Tensor) -> float:
        """Infinite where a roll-out leaves the range of numbers."""
        error, known = 0.0, 0
        for counts, values in self.parts:
            runs, recorded, tests = values.shape
            factor = [one.view(runs, recorded - 1, tests) for one in factors(train, test, counts)]
            rolled = recur(factor, counts.sizes.view(runs, recorded - 1), values[:, 0], self.modal)
            there = (values.isfinite() & values[:, :1].isfinite())[:, 1:]
            error += float((rolled - values)[:, 1:][there].double().square().sum())
            known += int(there.sum())
        return error / known if math.isfinite(error) else math.inf


@dataclass(frozen=True, slots=True)
class Sides:
    """The vectors of the pool and of the test examples, and the form of their projections."""

    form: Form
    train: Float[Tensor, "pool d"]
    test: Float[Tensor, "test d"]

    def project(self, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Both sides' projections: (factor, pool, width) and (factor, test, width)."""
        train, test = self.form.sides
        return project(self.train, parameters, train), project(self.test, parameters, test)


def fit(
    sides: Sides,
    parts: Sequence[Rows],
    validation: FreeRunning,
    schedule: Schedule,
    parameters: dict[str, Tensor],
    on_check: Callable[[int, float], None],
) -> Fitted:
    """Minimise mean squared one-step error + penalty * ||parameters||^2 over all rows at once.

    Adam, whose weight decay is here the penalty's exact gradient. ``parts`` split the rows to bound
    memory; their gradients add up to that of the whole. Kept are the parameters whose free-running
    roll-outs of the validation runs are best.
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
            (one_step_error(leaves[0], leaves[1], rows) / known).backward()  # type: ignore[no-untyped-call]
        optimiser.zero_grad()
        torch.autograd.backward((train, test), [leaf.grad for leaf in leaves])
        optimiser.step()
        decay.step()
    return Fitted(best, gained, checks)


def _copy(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in parameters.items()}
