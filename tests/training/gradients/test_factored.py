"""Gradients in the factors that they come in, written out against plain sums of outer products."""

from pathlib import Path

import torch
from torch import Tensor, nn

from gptfl.training.gradients.factored import Block, Held, Outer, join, owners_of
from tests.models import save_small
from tests.training.gradients.conftest import make_case


def test_tied_embeddings_are_summed_before_the_product(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "llama", blocks=1, width=16), None)
    model = case.network.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    place = case.network.names.index("model.embed_tokens.weight")
    held = case.tape.record(case.pool).held[place]
    assert [outer.one_hot for outer in held.outers] == [True, False]
    shape = case.network.trainable[place].shape
    first = sum(p.numel() for p in case.network.trainable[:place])
    expected = case.gradients(case.pool)[:, first : first + shape.numel()]
    torch.testing.assert_close(
        held.dense(len(case.pool)), expected, rtol=case.tolerance, atol=case.tolerance * float(expected.abs().max())
    )


def outer(random: torch.Generator, counts: tuple[int, ...], rows: int, columns: int, one_hot: bool) -> Outer:
    tokens = sum(counts)
    left = (
        torch.randint(rows, (tokens,), generator=random)
        if one_hot
        else torch.randn(tokens, rows, generator=random, dtype=torch.float64)
    )
    return Outer(left, torch.randn(tokens, columns, generator=random, dtype=torch.float64), counts)


def by_loop(one: Outer, rows: int) -> Tensor:
    """The gradients of all examples, one outer product after the other."""
    found = torch.zeros(len(one.counts), rows, one.right.shape[1], dtype=torch.float64)
    token = 0
    for example, count in enumerate(one.counts):
        for _ in range(count):
            left = nn.functional.one_hot(one.left[token], rows) if one.one_hot else one.left[token]
            found[example] += left.double()[:, None] * one.right[token]
            token += 1
    return found


def test_written_gradients_are_sums_of_outer_products() -> None:
    random = torch.Generator().manual_seed(0)
    counts = (2, 0, 3)
    uses = [outer(random, counts, 5, 4, one_hot) for one_hot in (False, True)]
    whole = torch.randn(3, 20, generator=random, dtype=torch.float64)
    held = Held((5, 4))
    for part in (*uses, whole, whole):
        held.add(part)
    expected = sum(by_loop(one, 5) for one in uses) + 2 * whole.view(3, 5, 4)
    torch.testing.assert_close(held.dense(3), expected.flatten(1))
    torch.testing.assert_close(held.writer(3)(1, 3), expected[:, 1:3].flatten(1))
    assert held.rows == 5


def test_what_is_no_matrix_has_one_row() -> None:
    held = Held((4,))
    held.add(torch.ones(2, 4))
    assert held.rows == 1
    torch.testing.assert_close(held.dense(2), torch.ones(2, 4))


def test_tokens_belong_to_examples_in_their_order() -> None:
    assert owners_of((2, 0, 3), torch.device("cpu")).tolist() == [0, 0, 2, 2, 2]
    assert Outer(torch.zeros(5, 1), torch.zeros(5, 1), (2, 0, 3)).spans() == [(0, 2), (2, 2), (2, 5)]


def test_joined_blocks_are_those_of_all_examples_and_share_what_was_shared() -> None:
    random = torch.Generator().manual_seed(1)
    blocks, expected = [], []
    for counts in ((2, 1), (3,)):
        first, second = (outer(random, counts, 3, 2, False) for _ in range(2))
        second = Outer(first.left, second.right, counts)
        expected.append([by_loop(one, 3).flatten(1) for one in (first, second)])
        held = {place: Held((3, 2), [one]) for place, one in enumerate((first, second))}
        blocks.append(Block(len(counts), {**held, 2: Held((2,), whole=torch.ones(len(counts), 2))}))
    separate = sum(block.bytes for block in blocks)
    joined = join(blocks)
    assert joined.count == 3
    for place in range(2):
        torch.testing.assert_close(joined.held[place].dense(3), torch.cat([one[place] for one in expected]))
    assert joined.held[2].dense(3).shape == (3, 2)
    assert joined.held[0].outers[0].left is joined.held[1].outers[0].left
    assert joined.bytes == separate
