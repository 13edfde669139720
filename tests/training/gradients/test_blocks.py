"""Which examples are held at once: however they are cut, the products are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.training.gradients.blocks import GRAPH, GRAPH_SHARE, Arrangement, Weights, default_memory, pieces_within
from gptfl.training.gradients.sides import Side
from gptfl.training.token_rows import TokenRow
from tests.training.gradients.conftest import assert_exact, compute, make_case


@pytest.mark.parametrize("divided", [False, True])
def test_the_size_of_blocks_changes_nothing(family: Path, divided: bool) -> None:
    case = make_case(family, None)
    weights = Weights.measured(case.tape, case.pool)
    longest = max(weights.of(side, i) for side in (case.pool, case.test) for i in range(len(side)))
    small = Arrangement.fit(case.pool, case.test, weights, int(3 * longest), divided)
    assert len(small.tests) > 1
    assert len(small.pools) > 1
    assert_exact(case, compute(case, divided, int(3 * longest)))


def side(lengths: list[int]) -> Side:
    none = np.zeros(1, int)
    return Side([TokenRow((0,) * length, none, none, none) for length in lengths])


@pytest.mark.parametrize("memory", [1, 2**10, 2**20])
def test_pieces_hold_each_example_once_and_keep_within_the_memory(memory: int) -> None:
    examples, weights = side([5, 1, 9, 3, 3, 7]), Weights(token=8.0, target=4.0)
    pieces = pieces_within(examples, weights, memory)
    flat = [one for piece in pieces for one in piece]
    assert sorted(flat) == list(range(6))
    assert [examples.lengths[one] for one in flat] == sorted(examples.lengths)
    limit = GRAPH_SHARE * memory / GRAPH
    assert all(len(piece) == 1 or sum(weights.of(examples, one) for one in piece) <= limit for piece in pieces)
    assert len(pieces) == {1: 6, 2**20: 1}.get(memory, len(pieces))


@pytest.mark.parametrize("memory", [300, 2000, 2**20])
@pytest.mark.parametrize("divided", [False, True])
def test_every_pair_is_computed_once_within_the_room(memory: int, divided: bool) -> None:
    pool, test, weights = side([4, 2, 6, 3]), side([5, 1, 2]), Weights(token=16.0, target=8.0)
    found = Arrangement.fit(pool, test, weights, memory, divided)
    for blocks, count in ((found.tests, 3), (found.pools, 4)):
        assert sorted(one for block in blocks for piece in block for one in piece) == list(range(count))
    assert found.room == int(0.05 * memory)
    if memory == 2**20:
        assert (len(found.tests), len(found.pools)) == (1, 1)


def test_memory_on_a_cpu_is_a_gib_and_a_half() -> None:
    assert default_memory(torch.device("cpu")) == 3 * 2**29
