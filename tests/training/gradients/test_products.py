"""Products of per-example gradients against autograd, one example at a time, in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.gradients import products
from gptfl.training.gradients.blocks import Arrangement, Weights, all_products
from gptfl.training.gradients.factored import Held, Outer
from gptfl.training.gradients.products import Products
from gptfl.training.reference_run import check_against_autograd
from tests.models import save_small
from tests.training.gradients.conftest import Case, make_case

ROOM = 2**26


def compute(case: Case, divided: bool, memory: int = ROOM) -> Products:
    weights = Weights.measured(case.tape, case.pool)
    arrangement = Arrangement.fit(case.pool, case.test, weights, memory, divided)
    return all_products(case.tape, case.pool, case.test, case.denominator if divided else None, arrangement)


def assert_exact(case: Case, found: Products) -> None:
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    divisor = torch.cat([one.flatten() for one in case.divisors])
    pairs = [(found.raw, pool @ test.T), (found.own, pool.square().sum(dim=1))]
    if found.divided is not None:
        pairs += [(found.divided, (pool / divisor) @ test.T), (found.own_divided, (pool.square() / divisor).sum(dim=1))]
    for got, expected in pairs:
        off = case.tolerance
        torch.testing.assert_close(got, expected, rtol=off, atol=off * float(expected.abs().max()))


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("top", [None, 1])
def test_products_are_those_of_autograd(family: Path, top: int | None, divided: bool) -> None:
    case = make_case(family, top)
    assert len(set(case.pool.lengths)) > 2
    assert_exact(case, compute(case, divided))


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


@pytest.mark.parametrize("divided", [False, True])
def test_the_size_of_blocks_changes_nothing(family: Path, divided: bool) -> None:
    case = make_case(family, None)
    weights = Weights.measured(case.tape, case.pool)
    longest = max(weights.of(side, i) for side in (case.pool, case.test) for i in range(len(side)))
    small = Arrangement.fit(case.pool, case.test, weights, int(3 * longest), divided)
    assert len(small.tests) > 1
    assert len(small.pools) > 1
    assert_exact(case, compute(case, divided, int(3 * longest)))


@pytest.mark.parametrize("factors", [True, False])
@pytest.mark.parametrize("divided", [True, False])
def test_both_ways_to_multiply_are_exact(
    family: Path, factors: bool, divided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "is_cheaper_from_factors", lambda *given: factors)
    monkeypatch.setattr(products, "CACHE", 4096)
    assert_exact(make_case(family, None), compute(make_case(family, None), divided))


def test_few_pairs_of_tokens_at_a_time(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_cheaper_from_factors", lambda *given: True)
    case = make_case(family, None)
    here, there = case.tape.record(case.pool), case.tape.record(case.test)
    found = products.multiply(here, there, None, own=True, room=1024)
    assert_exact(case, found)


def test_whichever_way_takes_fewer_operations_is_taken() -> None:
    def held(tokens: int, examples: int) -> Held:
        outer = Outer(torch.zeros(tokens * examples, 64), torch.zeros(tokens * examples, 32), (tokens,) * examples)
        return Held((64, 32), [outer])

    assert products.is_cheaper_from_factors(held(2, 10), held(2, 10), 10, 10, written=False)
    assert not products.is_cheaper_from_factors(held(50, 10), held(50, 10), 10, 10, written=False)
    # Between the two, it depends on whether the gradients are written out anyway.
    assert products.is_cheaper_from_factors(held(6, 10), held(6, 10), 10, 10, written=False)
    assert not products.is_cheaper_from_factors(held(6, 10), held(6, 10), 10, 10, written=True)


@pytest.mark.parametrize("top", [None, 1])
def test_adapters_alone(family: Path, top: int | None) -> None:
    case = make_case(family, top, lora="r=2,alpha=4,dropout=0.5")
    with torch.no_grad():
        for weight in case.network.trainable:
            weight += 0.1  # B is 0 at first, and with it the gradient of A
    assert all("lora" in name for name in case.network.names)
    assert_exact(case, compute(case, True))


class Scaled(nn.Linear):
    """A layer of no known kind."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) * 2


class Mixing(nn.Linear):
    """A layer in which examples see each other."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) + super().forward(values.flip(0))


def swap_first_linear(network: Any, kind: type[nn.Linear]) -> None:
    module = next(m for m in network.model.base_model.modules() if type(m) is nn.Linear)
    module.__class__ = kind


def test_a_layer_of_unknown_kind_is_computed_again_for_each_example(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    swap_first_linear(case.network, Scaled)
    check_against_autograd(case.tape, case.pool)
    assert_exact(case, compute(case, True))


def test_a_model_in_which_examples_mix_is_refused(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    swap_first_linear(case.network, Mixing)
    with pytest.raises(
        DataError, match=r"gradients of single examples can't be told apart: .* GPTNeoX.*choose another model"
    ):
        check_against_autograd(case.tape, case.pool)


def test_a_layer_that_forgets_the_examples_is_refused(tmp_path: Path) -> None:
    class Folding(nn.Linear):
        def forward(self, values: Tensor) -> Tensor:
            return super().forward(values.flatten(0, 1)).unflatten(0, (1, -1))

    class Unfolding(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, values: Tensor) -> Tensor:
            return self.inner(values).reshape(*values.shape[:2], -1)

    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    block = case.network.model.base_model.layers[0]
    block.mlp.dense_h_to_4h.__class__ = Folding
    block.mlp.dense_h_to_4h = Unfolding(block.mlp.dense_h_to_4h)
    with pytest.raises(DataError, match="the output of Folding has shape"):
        case.tape.record(case.pool)


def test_a_padding_token_has_no_gradient(tmp_path: Path) -> None:
    """An embedding that leaves the row of its padding token alone does so inside a prompt, too."""
    case = make_case(save_small(tmp_path, "llama", blocks=1, width=16), None)
    used = case.pool.rows[0].input_ids[1]
    case.network.model.base_model.embed_tokens.padding_idx = used
    assert_exact(case, compute(case, False))


def test_what_the_network_was_doing_is_left_as_it_was(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt2", blocks=1, width=16), None)
    case.network.switch(training=True)
    case.network.precision = "bf16"
    case.tape.record(case.pool)
    assert case.network.model.training
    assert case.network.precision == "bf16"
    assert all(weight.grad is None for weight in case.network.trainable)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in case.network.model.modules())
