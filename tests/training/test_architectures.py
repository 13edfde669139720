"""Several architectures against their own forward pass, as tools/check_architectures.py holds all of them."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gptfl.errors import DataError
from gptfl.training.network import Batch, Network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_architectures", ROOT / "tools" / "check_architectures.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.mark.parametrize(
    "family",
    ["gemma2", "gemma3_text", "gpt_oss", "cohere2", "granite", "bloom", "opt", "llama4_text", "gemma3n_text"],
)
def test_log_probs_and_gradients_are_the_models_own(tool: ModuleType, family: str) -> None:
    """Caps and scales of logits, windows and rotary bases by layer, norms and scales of embeddings, nested decoders."""
    # One of Gemma 3n's blocks takes the keys and values of the third from the top.
    top = 3 if family == "gemma3n_text" else 2
    assert tool.check_recording(tool.build(family), family, top) == "ok"


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss", "bart"])
def test_gradients_are_reported_apart(tool: ModuleType, family: str) -> None:
    """Capped logits; experts, their routers and weights of attention itself; positions that all examples share."""
    assert tool.check_sketches(tool.build(family), family) == "ok"
    assert tool.check_slopes(tool.build(family), family) == "ok"


def test_gradients_that_mix_are_refused(tool: ModuleType) -> None:
    """Llama 4 lays its tokens out by expert."""
    with pytest.raises(DataError, match="gradients of single examples can't be told apart: the squared length"):
        tool.check_sketches(tool.build("llama4_text"), "llama4_text")


def test_a_model_that_cannot_be_trained_is_refused(tool: ModuleType) -> None:
    def detach(model: Any) -> None:
        model.model.norm.register_forward_hook(lambda module, args, output: output.detach())
        model.lm_head.register_forward_hook(lambda module, args, output: output.detach())

    with pytest.raises(DataError, match="can't be recorded: it fails with RuntimeError: element 0 of tensors does not"):
        broken(tool, detach)


def test_only_asked_logits_are_computed(tool: ModuleType) -> None:
    network = tool.network_of(tool.build("gemma2"), "gemma2")
    rows = tool.some_rows()
    shapes = []
    network.head.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape)))
    network.log_probs(Batch(rows, None, network.device))
    assert shapes == [(1, sum(len(row.tokens) for row in rows), tool.WORDS)]


@pytest.mark.parametrize(
    ("family", "top", "problem"),
    [
        ("xlnet", None, "is not causal"),
        ("xlnet", 1, "is not causal"),
        ("hrm_text", 1, "--train-layers: .* aren't run once each"),
        ("gemma3n_text", 1, "can't be recorded with --train-layers 1: it fails with KeyError"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tool: ModuleType, family: str, top: int | None, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as refused:
        tool.network_of(tool.build(family), "model", top)
    assert ("--train-layers" in str(refused.value)) == ("--train-layers" in problem)


def test_a_model_that_reads_backwards_is_refused(tool: ModuleType) -> None:
    assert tool.check_recording(tool.build("bert"), "bert") == "ok"
    with pytest.raises(DataError, match="is not causal"):
        tool.network_of(tool.build("bert", is_decoder=False), "bert")


def test_blocks_that_share_weights_are_not_trained_apart(tool: ModuleType) -> None:
    model = tool.build("llama")
    model.model.layers[3].mlp = model.model.layers[0].mlp
    with pytest.raises(DataError, match="share their weights: leave --train-layers out"):
        tool.network_of(model, "shared", 1)
    assert tool.check_recording(model, "shared", 4) == "ok"


def broken(tool: ModuleType, what: Any) -> Network:
    model = tool.build("llama")
    with torch.no_grad():
        what(model)
    return tool.network_of(model, "broken")  # type: ignore[no-any-return]


def test_log_probs_that_are_not_finite_have_their_own_words(tool: ModuleType) -> None:
    with pytest.raises(DataError, match=r"broken: .*aren't finite before any training"):
        broken(tool, lambda model: model.lm_head.weight[5].fill_(torch.nan))


def test_a_model_that_draws_lots_is_refused(tool: ModuleType) -> None:
    def draw(model: Any) -> None:
        model.lm_head.register_forward_hook(lambda module, args, output: output + torch.rand_like(output))

    with pytest.raises(DataError, match="other log-probabilities each time"):
        broken(tool, draw)


def test_a_difference_in_the_longest_row_alone_is_found(tool: ModuleType) -> None:
    """A model that treats padded batches otherwise than rows by themselves."""

    def shift(model: Any) -> None:
        model.model.norm.register_forward_hook(lambda m, a, output: output * (2 if len(output) > 1 else 1))

    with pytest.raises(DataError, match="differ from the model's own by"):
        broken(tool, shift)
