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
    ["gemma2", "gemma3_text", "gpt_oss", "cohere2", "granite", "bloom", "opt", "mpt", "llama4_text", "olmo3"],
)
@pytest.mark.parametrize("top", [None, 2])
def test_log_probs_and_gradients_are_the_models_own(tool: ModuleType, family: str, top: int | None) -> None:
    """Caps and scales of logits, windows and rotary bases by layer, norms and scales of embeddings, nested decoders."""
    assert tool.check_recording(tool.build(family), family, top) == "ok"


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
        ("bert", None, "its log-probabilities depend on later tokens"),
        ("xlnet", None, "its log-probabilities depend on later tokens"),
        ("zamba", 1, "with --train-layers 1.*share their weights"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tool: ModuleType, family: str, top: int | None, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as refused:
        tool.network_of(tool.build(family), "model", top)
    assert ("--train-layers" in str(refused.value)) == (top is not None)


def broken(tool: ModuleType, what: Any) -> Network:
    model = tool.build("llama")
    with torch.no_grad():
        what(model)
    return tool.network_of(model, "broken")  # type: ignore[no-any-return]


def test_log_probs_that_are_not_finite_have_their_own_words(tool: ModuleType) -> None:
    with pytest.raises(DataError, match="broken: .*aren't finite before any training"):
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
