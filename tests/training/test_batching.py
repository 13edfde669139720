"""The layout is held against all partitions of small cases."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptfl.training.batching import plan_batches


def cost(batches: list[list[int]], lengths: list[int], overhead: int) -> int:
    return sum(len(batch) * max(lengths[i] for i in batch) + overhead for batch in batches)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    budget=st.integers(1, 80),
    overhead=st.integers(0, 40),
)
def test_it_is_the_cheapest_partition_of_the_sorted_rows(lengths: list[int], budget: int, overhead: int) -> None:
    batches = plan_batches(lengths, budget, overhead)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(fits(batch, lengths, budget) for batch in batches)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    every = [split(order, cuts) for cuts in itertools.product([False, True], repeat=len(order) - 1)]
    allowed = [parts for parts in every if all(fits(part, lengths, budget) for part in parts)]
    best = min(cost(parts, lengths, overhead) for parts in allowed)
    assert cost(batches, lengths, overhead) == best


def fits(batch: list[int], lengths: list[int], budget: int) -> bool:
    return len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def split(order: list[int], cuts: tuple[bool, ...]) -> list[list[int]]:
    parts = [[order[0]]]
    for item, cut in zip(order[1:], cuts, strict=True):
        if cut:
            parts.append([item])
        else:
            parts[-1].append(item)
    return parts


@pytest.mark.parametrize("budget", [1, 5, 1000])
def test_equal_lengths_fill_the_budget(budget: int) -> None:
    batches = plan_batches([5] * 10, budget, 1)
    assert max(map(len, batches)) == max(1, min(10, budget // 5))
