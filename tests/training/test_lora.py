"""Adapters: what --lora reads, where they go, that they begin as nothing and merge into what they compute."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.errors import DataError, UsageError
from gptfl.training.lora import Lora, parse_lora
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.network import Batch, Network
from tests.models import save_small
from tests.training.test_trainer import make, plan


def load(folder: Path) -> object:
    return load_pretrained(resolve_model(str(folder)), torch.device("cpu"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r=8,alpha=4,dropout=0.05", Lora()),
        ("r=8", Lora()),
        (" alpha = 16 , r = 2 ", Lora(2, 16.0)),
        ("r=4,dropout=0,targets=q_proj+v_proj", Lora(4, 4.0, 0.0, ("q_proj", "v_proj"))),
    ],
)
def test_what_is_left_out_is_the_papers(text: str, expected: Lora) -> None:
    assert parse_lora(text) == expected
    assert parse_lora(expected.text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r=0", "--lora 'r=0': r is 0, not a whole number of at least 1: write for example --lora r=8,alpha=4"),
        ("rank=8", "'rank=8' is not one of r, alpha, dropout, targets with a value"),
        ("r=8,r=9", "gives r twice"),
        ("r=eight", "r is 'eight', not a whole number"),
        ("r=1.5", "r is '1.5', not a whole number"),
        ("r=-" + "9" * 400, "r is -9999999999999999999, not a whole number of at least 1"),
        ("r=8,alpha=nan", "alpha is nan, not a positive number"),
        ("r=8,alpha=-1", "alpha is -1, not a positive number"),
        ("r=8,dropout=1", "dropout is 1, not at least 0 and below 1"),
        ("r=8,dropout=x", "dropout is 'x', not a number"),
        ("r=8,", "'' is not one of"),
        ("", "'' is not one of"),
        ("r=8,targets=", "'targets=' is not one of"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lora(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("top", [None, 2])
def test_adapters_begin_as_nothing_and_alone_are_trained(any_model: Path, top: int | None) -> None:
    plain = make(any_model, train_layers=top)
    adapted = make(any_model, train_layers=top, lora="r=2,alpha=4,dropout=0")
    start = adapted.evaluator.measure()
    for name, values in plain.evaluator.measure().items():
        np.testing.assert_array_equal(start[name], values)
    weights = {name: value.clone() for name, value in adapted.network.model.named_parameters()}
    run = adapted.run(plan(), lambda done, total: None)
    assert abs(run.metrics["loss"][-1] - run.metrics["loss"][0]).max() > 1e-4
    changed = {n for n, v in adapted.network.model.named_parameters() if not torch.equal(v, weights[n])}
    assert changed == set(adapted.network.names)
    assert all(".lora_A." in name or ".lora_B." in name for name in changed)
    blocks = {name.split(".layers." if ".layers." in name else ".h.")[1].split(".")[0] for name in changed}
    assert blocks == ({"0", "1", "2"} if top is None else {"1", "2"})


def test_attention_is_adapted_by_architecture(any_model: Path, request: pytest.FixtureRequest) -> None:
    names = make(any_model, lora="r=2").network.names
    leaves = {name.split(".lora_")[0].rpartition(".")[2] for name in names}
    expected = {"neox": {"query_key_value"}, "llama": {"q_proj", "k_proj", "v_proj"}, "gpt2": {"c_attn"}}
    family = next(family for family in expected if family in request.node.name)
    assert leaves == expected[family]


def test_merged_weights_equal_the_adapters(any_model: Path) -> None:
    """W + alpha / r B A, written out, computes what the adapted model computes."""
    adapted = make(any_model, lora="r=2,alpha=6,dropout=0")
    adapted.run(plan(), lambda done, total: None)
    batch = Batch(adapted.rows, None, torch.device("cpu"))
    with torch.no_grad():
        expected = adapted.network.log_probs(batch)
    merged = Network(load(any_model), None, "fp32")  # type: ignore[arg-type]
    learned = adapted.network.weights()
    before = merged.log_probs(batch).detach()
    with torch.no_grad():
        for name in learned:
            if ".lora_A." in name:
                target = merged.model.get_submodule(name.split(".lora_A.")[0])
                product = 6 / 2 * learned[name.replace("lora_A", "lora_B")] @ learned[name]
                target.weight += product.T if type(target).__name__ == "Conv1D" else product
        torch.testing.assert_close(merged.log_probs(batch), expected, atol=1e-5, rtol=1e-5)
    assert (before - expected).abs().max() > 1e-4


def test_a_run_is_the_same_whatever_ran_before_it(neox: Path) -> None:
    trainer = make(neox, lora="r=2,dropout=0.5", seed=3)
    first = trainer.run(plan(), lambda done, total: None)
    again = trainer.run(plan(), lambda done, total: None)
    torch.manual_seed(99)
    fresh = make(neox, lora="r=2,dropout=0.5", seed=3).run(plan(), lambda done, total: None)
    other = make(neox, lora="r=2,dropout=0.5", seed=4).run(plan(), lambda done, total: None)
    calm = make(neox, lora="r=2,dropout=0", seed=3).run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(first.metrics["loss"], again.metrics["loss"])
    np.testing.assert_array_equal(first.metrics["loss"], fresh.metrics["loss"])
    for different in (other, calm):
        np.testing.assert_array_equal(first.metrics["loss"][0], different.metrics["loss"][0])
        assert abs(first.metrics["loss"][-1] - different.metrics["loss"][-1]).max() > 0


def test_attaching_leaves_the_random_numbers_alone(neox: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    make(neox, lora="r=2")
    assert torch.equal(torch.rand(1), expected)


def test_modules_may_be_named(neox: Path) -> None:
    network = make(neox, lora="r=1,targets=dense+dense_h_to_4h").network
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in network.names} == {"dense", "dense_h_to_4h"}
    every = make(neox, lora="r=1,targets=all-linear").network
    assert {name.split(".")[-4] for name in every.names} == {
        "dense",
        "dense_4h_to_h",
        "dense_h_to_4h",
        "query_key_value",
    }
    with pytest.raises(DataError, match=r"targets=q_proj: GPTNeoX.* has no 'q_proj'.*: .* are dense, dense_4h_to_h, "):
        make(neox, lora="r=1,targets=q_proj")


def test_an_architecture_that_is_not_known_lists_what_it_has(tmp_path: Path) -> None:
    network = Network(load(save_small(tmp_path, "gpt-neox")), None, "fp32")  # type: ignore[arg-type]
    for block in network.model.base_model.layers:
        block.attention.in_projection = block.attention.query_key_value
        del block.attention.query_key_value
    from gptfl.training.lora import attach

    with pytest.raises(DataError, match=r"doesn't know how GPTNeoX.* calls.*targets=A\+B;.*in_projection"):
        attach(network.model, Lora(), None, 0)
