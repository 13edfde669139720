"""Products of per-example gradients against autograd, one example at a time, in float64."""

from pathlib import Path

import pytest
import torch

from gptfl.training.gradients import products
from gptfl.training.gradients.factored import Held, Outer
from tests.training.gradients.conftest import assert_exact, compute, make_case


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("top", [None, 1])
def test_products_are_those_of_autograd(family: Path, top: int | None, divided: bool) -> None:
    case = make_case(family, top)
    assert len(set(case.pool.lengths)) > 2
    assert_exact(case, compute(case, divided))


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
