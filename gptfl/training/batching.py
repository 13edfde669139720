"""How rows of different lengths are grouped into batches so that little padding is computed."""

from collections.abc import Sequence

import numpy as np


def plan_batches(lengths: Sequence[int], budget: int, overhead: int) -> list[list[int]]:
    """Partition rows into batches with the least padded tokens plus ``overhead`` tokens a batch.

    Rows are taken in order of length; a batch holds at most ``budget`` padded tokens (or one row).
    Exact by dynamic programming over the sorted rows.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = np.asarray(lengths)[order]
    count = len(ordered)
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    start_of = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        longest = int(ordered[end - 1])
        first = max(0, end - max(1, budget // max(longest, 1)))
        starts = np.arange(first, end)
        costs = best[first:end] + (end - starts) * longest + overhead
        cheapest = int(np.argmin(costs))
        best[end], start_of[end] = costs[cheapest], first + cheapest
    batches = []
    end = count
    while end > 0:
        start = int(start_of[end])
        batches.append([int(i) for i in order[start:end]])
        end = start
    return batches[::-1]


def plan_shares(lengths: Sequence[int], budget: int, overhead: int, processes: int) -> list[list[list[int]]]:
    """The batches of each process: rows are shared out as evenly in length as can be, and each share is cut as by
    ``plan_batches``.

    Args:
        lengths: tokens of each row.
        budget: padded tokens of a batch at most.
        overhead: what a batch costs beside its tokens, in tokens.
        processes: how many shares.
    """
    order = [int(i) for i in np.argsort(lengths, kind="stable")]
    shares = (order[process::processes] for process in range(processes))
    return [
        [[share[i] for i in batch] for batch in plan_batches([lengths[i] for i in share], budget, overhead)]
        for share in shares
    ]
