"""The paper's recurrence: factors of a batch, and the roll-out over time.

phi_t(z') = sum_j alpha_j(c_t, z') phi_{t-j}(z') + beta(c_t, z')
alpha_j(c, z') = sum_{i in c} <p_ij, q_j>  and beta likewise, where p and q are the projections of the
training examples and of z' (Chai et al., 2024, equations of section 3). Projections come stacked by
factor: alpha_1 ... alpha_n, then beta.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.batches import IntervalCounts
from gptfl.estimators.gptfluence.numerics import one_thread
from gptfl.estimators.gptfluence.pool_rows import PoolProjection
from gptfl.estimators.gptfluence.update_rule import Coefficients, UpdateRule

MAX_BYTES = 64 * 2**20
"""What the factors of one chunk of curricula may take, unless given."""


class _SumOver(torch.autograd.Function):
    """The rows of a table summed as a count matrix says; the gradient is the same with it transposed.

    The library's own backward pass sorts all members anew each time, which took longer than all the rest.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, counts: IntervalCounts, turned: IntervalCounts | None) -> Tensor:
        ctx.turned = turned
        return functional.embedding_bag(
            counts.members, table, counts.starts, mode="sum", per_sample_weights=_like(table, counts.weights)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        turned: IntervalCounts = ctx.turned
        above = gradients[0].contiguous()
        weights = _like(above, turned.weights)
        summed = functional.embedding_bag(turned.members, above, turned.starts, mode="sum", per_sample_weights=weights)
        return summed, None, None


def _like(table: Tensor, weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.to(table.dtype)


def factors(
    train: Float[Tensor, "factor pool rank"] | PoolProjection,
    test: Float[Tensor, "factor test rank"],
    counts: IntervalCounts,
    turned: IntervalCounts | None = None,
) -> list[Float[Tensor, "interval test"]]:
    """The sum of <p_i, q> over the examples i of every interval, for every test example, in matrix products.

    The sum may be taken before the inner product or after it. After it is cheaper, and takes no more
    memory than the result, where the pool is no larger than the number of intervals; before it otherwise.

    Args:
        train: projected training examples ``p``; where the pool isn't in memory, sums are taken before.
        test: projected test examples ``q``.
        counts: how much each example counts in each interval.
        turned: the transposed counts, needed where gradients are.
    """
    if isinstance(train, PoolProjection):
        return [ours @ theirs for ours, theirs in zip(train.summed(counts), test.transpose(1, 2), strict=True)]
    pair_first = sums_pairs(train.shape[1], len(counts.sizes))
    found = []
    for ours, theirs in zip(train, test.transpose(1, 2), strict=True):
        table = ours @ theirs if pair_first else ours
        sums = sum_over(table, counts, turned)
        found.append(sums if pair_first else sums @ theirs)
    return found


def sums_pairs(pool: int, intervals: int) -> bool:
    """Whether inner products are summed over the batch, rather than projections."""
    return pool <= intervals


def sum_over(
    table: Float[Tensor, "pool rank"], counts: IntervalCounts, turned: IntervalCounts | None = None
) -> Float[Tensor, "interval rank"]:
    """The rows of a table summed over the examples of every interval; ``turned`` is needed for gradients."""
    return _SumOver.apply(table, counts, turned)  # type: ignore[no-any-return, no-untyped-call]


def recur(
    factor: Sequence[Float[Tensor, "run interval test"]],
    motion: Coefficients,
    past: Sequence[Float[Tensor, "run test"]],
) -> Float[Tensor, "run recorded test"]:
    """Roll every run and test example forward together from the last known score.

    ``past`` holds that score and the ones before it, latest first, as many as there are alphas. The alphas are
    multiplied by ``motion.scale`` and what ``motion.keep`` says of the last score stays beside (see ``UpdateRule``).
    Where an interval holds no example, nothing changes.
    """
    scale, keep, idle = motion.scale.unsqueeze(-1), motion.keep, motion.idle.unsqueeze(-1)
    some_idle = bool(idle.any())
    known = list(past[::-1])
    for t in range(motion.scale.shape[1]):
        moved = factor[0][:, t] * known[-1]
        for j in range(1, len(factor) - 1):
            moved = torch.addcmul(moved, factor[j][:, t], known[-1 - j])
        moved = torch.addcmul(factor[-1][:, t], moved, scale[:, t])
        if keep is not None:
            moved = torch.addcmul(moved, keep[:, t].unsqueeze(-1), known[-1])
        known.append(torch.where(idle[:, t], known[-1], moved) if some_idle else moved)
    return torch.stack(known[len(past) - 1 :], dim=1)


def runs_a_chunk(intervals: int, test: int, rank: int, factor: int, max_bytes: int, width: int = 4) -> int:
    """How many curricula fit into so many bytes of factors, summed projections and values; at least one.

    Args:
        intervals: of a curriculum.
        test: how many test examples.
        rank: of the projections.
        factor: how many factors the recurrence has.
        max_bytes: to stay within.
        width: bytes of a number.
    """
    a_run = width * intervals * (factor * (test + rank) + test)
    return max(1, max_bytes // max(a_run, 1))


@torch.inference_mode()
def rollout(
    train: Float[Tensor, "factor pool rank"] | PoolProjection,
    test: Float[Tensor, "factor test rank"],
    batches: Int[np.ndarray, "run step batch"],
    steps: Int[np.ndarray, " recorded"],
    first: Float[np.ndarray, "run test"],
    law: UpdateRule,
    max_bytes: int = MAX_BYTES,
    rates: Float[np.ndarray, "run step"] | None = None,
    push: Float[Tensor, "#run interval test"] | None = None,
) -> Float[np.ndarray, "run recorded test"]:
    """The trajectories of many curricula, predicted in one pass over time, a chunk of curricula at a time.

    The history before the first score repeats it. Beside the result, memory is bounded by ``max_bytes`` (or one
    curriculum,
    where that takes more).

    Args:
        train: projected training examples.
        test: projected test examples.
        batches: places in the pool; -1 is padding.
        steps: recorded steps, ascending.
        first: the metric at the first of them; where it is NaN, the trajectory is NaN throughout.
        law: how factors enter the recurrence.
        max_bytes: bounds the memory.
        rates: the learning rates, which some laws look at.
        push: what is added to what each step of the recurrence gives.

    Raises ``DataError`` where a roll-out leaves the range of numbers, or on batches that don't fit the pool or the
    steps.
    """
    if first.shape != (len(batches), test.shape[1]):
        expected = f"{len(batches)} x {test.shape[1]}"
        raise DataError(f"first scores are {first.shape[0]} x {first.shape[1]}", f"expected runs x test = {expected}")
    values = np.empty((len(batches), len(steps), test.shape[1]), dtype=np.result_type(first.dtype, np.float32))
    intervals = len(steps) - 1
    size = runs_a_chunk(intervals, test.shape[1], train.shape[2], len(train), max_bytes, train.dtype.itemsize)
    with one_thread(sums_pairs(train.shape[1], min(size, len(batches)) * intervals)):
        for start in range(0, len(batches), size):
            chunk = slice(start, min(start + size, len(batches)))
            counts = law.counts(batches[chunk], None if rates is None else rates[chunk], steps, train.shape[1])
            runs = chunk.stop - chunk.start
            factor = [one.view(runs, intervals, test.shape[1]) for one in factors(train, test, counts)]
            if push is not None:
                factor[-1] = factor[-1] + (push if len(push) == 1 else push[chunk])
            begin = torch.from_numpy(np.array(first[chunk])).to(train.dtype)
            motion = law.motion(counts, begin.dtype).view(runs, intervals)
            values[chunk] = recur(factor, motion, [begin] * (len(factor) - 1)).numpy()
            refuse_divergence(values[chunk], start, steps)
    values[:, 0] = first
    return values


def refuse_divergence(
    values: Float[np.ndarray, "run recorded test"], start: int, steps: Int[np.ndarray, " recorded"]
) -> None:
    """Raise ``DataError`` naming the first trajectory that is finite at first and not later on."""
    lost = np.isfinite(values[:, :1]) & ~np.isfinite(values)
    if lost.any():
        run, at, _ = np.argwhere(lost)[0]
        raise DataError(
            f"the roll-out of curriculum {start + run} leaves the range of numbers at step {int(steps[at])}",
            "it is too unlike the recorded runs for this simulator: stay nearer to them, or use another estimator",
        )
