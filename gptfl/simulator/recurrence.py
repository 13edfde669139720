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
from gptfl.simulator.intervals import Counts, interval_counts
from gptfl.simulator.numerics import one_thread

MAX_BYTES = 64 * 2**20
"""What the factors of one chunk of curricula may take, unless told otherwise."""


class _SumOver(torch.autograd.Function):
    """The rows of a table summed as a count matrix says; the gradient is the same with it transposed.

    The library's own backward pass sorts all members anew each time, which took longer than all the rest.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, counts: Counts, turned: Counts | None) -> Tensor:
        ctx.turned = turned
        return functional.embedding_bag(counts.members, table, counts.starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        turned: Counts = ctx.turned
        summed = functional.embedding_bag(turned.members, gradients[0].contiguous(), turned.starts, mode="sum")
        return summed, None, None


def factors(
    train: Float[Tensor, "factor pool rank"],
    test: Float[Tensor, "factor test rank"],
    counts: Counts,
    turned: Counts | None = None,
) -> list[Float[Tensor, "interval test"]]:
    """Sum <p_i, q> over the examples i of every interval, for every test example, in matrix products.

    The sum may be taken before the inner product or after it. After it is cheaper, and takes no more
    memory than the result, where the pool is no larger than the number of intervals; before it otherwise.
    ``turned``, the transposed counts, is needed where gradients are.
    """
    pair_first = sums_pairs(train.shape[1], len(counts.sizes))
    found = []
    for ours, theirs in zip(train, test.transpose(1, 2), strict=True):
        table = ours @ theirs if pair_first else ours
        sums = _SumOver.apply(table, counts, turned)  # type: ignore[no-untyped-call]
        found.append(sums if pair_first else sums @ theirs)
    return found


def sums_pairs(pool: int, intervals: int) -> bool:
    """Whether inner products are summed over the batch, rather than projections."""
    return pool <= intervals


def size_scale(sizes: Int[Tensor, "*interval"], modal: int, like: Tensor) -> Float[Tensor, "*interval"]:
    """n_modal / |c| for each interval; 0 for an empty one."""
    return torch.where(sizes > 0, modal / sizes.clamp(min=1).to(like.dtype), torch.zeros((), dtype=like.dtype))


def recur(
    factor: Sequence[Float[Tensor, "run interval test"]],
    sizes: Int[Tensor, "run interval"],
    first: Float[Tensor, "run test"],
    modal: int,
) -> Float[Tensor, "run recorded test"]:
    """Roll every run and test example forward together from the first score.

    The history before it repeats it. Where an interval holds another number of examples than the modal
    one, its alpha is scaled by n_modal / |c|, so that a smaller batch doesn't shrink the metric; with
    equal batches this is the paper's form. Where it holds none, nothing changes.
    """
    scale = size_scale(sizes, modal, first)
    idle = (sizes == 0).unsqueeze(-1)
    some_idle = bool(idle.any())
    values = first.new_empty(first.shape[0], sizes.shape[1] + 1, first.shape[1])
    values[:, 0] = first
    for t in range(sizes.shape[1]):
        moved = factor[0][:, t] * values[:, t]
        for j in range(1, len(factor) - 1):
            moved = torch.addcmul(moved, factor[j][:, t], values[:, max(t - j, 0)])
        moved = torch.addcmul(factor[-1][:, t], moved, scale[:, t].unsqueeze(-1))
        values[:, t + 1] = torch.where(idle[:, t], values[:, t], moved) if some_idle else moved
    return values


def runs_a_chunk(intervals: int, test: int, rank: int, factor: int, max_bytes: int, width: int = 4) -> int:
    """How many curricula fit into ``max_bytes`` of factors, summed projections and values; at least one."""
    a_run = width * intervals * (factor * (test + rank) + test)
    return max(1, max_bytes // max(a_run, 1))


@torch.inference_mode()
def rollout(
    train: Float[Tensor, "factor pool rank"],
    test: Float[Tensor, "factor test rank"],
    batches: Int[np.ndarray, "run step batch"],
    steps: Int[np.ndarray, " recorded"],
    first: Float[np.ndarray, "run test"],
    modal: int,
    max_bytes: int = MAX_BYTES,
) -> Float[np.ndarray, "run recorded test"]:
    """Predict the trajectories of many curricula in one pass over time, a chunk of curricula at a time.

    Beside the result, memory is bounded by ``max_bytes`` (or one curriculum, where that takes more).
    ``first`` may hold NaN: these trajectories are NaN throughout. Raises ``DataError`` where a roll-out
    leaves the range of numbers, or on batches that don't fit the pool or the steps.
    """
    if first.shape != (len(batches), test.shape[1]):
        expected = f"{len(batches)} x {test.shape[1]}"
        raise DataError(f"first scores are {first.shape[0]} x {first.shape[1]}", f"expected runs x test = {expected}")
    values = np.empty((len(batches), len(steps), test.shape[1]), dtype=np.result_type(first.dtype, np.float32))
    intervals = len(steps) - 1
    size = runs_a_chunk(intervals, test.shape[1], train.shape[2], len(train), max_bytes, train.element_size())
    with one_thread(sums_pairs(train.shape[1], min(size, len(batches)) * intervals)):
        for start in range(0, len(batches), size):
            chunk = slice(start, min(start + size, len(batches)))
            counts = interval_counts(batches[chunk], steps, train.shape[1])
            runs = chunk.stop - chunk.start
            factor = [one.view(runs, intervals, test.shape[1]) for one in factors(train, test, counts)]
            begin = torch.from_numpy(np.array(first[chunk])).to(train.dtype)
            values[chunk] = recur(factor, counts.sizes.view(runs, intervals), begin, modal).numpy()
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
