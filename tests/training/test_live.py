"""A model that another loop trains, seen as a network and left as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from gptfl.errors import DataError
from gptfl.training.live import LiveNetwork, followed_optimiser
from gptfl.training.network import Batch
from gptfl.training.token_rows import TokenRow

ROW = TokenRow((1, 2, 3), np.array([1, 2]), np.array([3, 4]), np.zeros(2, int))


@pytest.fixture
def model(neox: Path) -> Any:
    return hf.AutoModelForCausalLM.from_pretrained(neox)


def test_log_probabilities_are_the_models_and_nothing_of_it_changes(model: Any) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = LiveNetwork(model, None, "own")
    assert network.names == [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([[1, 2, 3]])).logits[0].log_softmax(-1)
        model.train()
        found = network.log_probs(Batch([ROW], None, network.device))
    np.testing.assert_allclose(found, [float(logits[1, 3]), float(logits[2, 4])], atol=1e-4)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_weights_are_those_that_require_a_gradient_now(model: Any) -> None:
    model.requires_grad_(False)
    with pytest.raises(DataError, match="GPTNeoXForCausalLM trains no weights of the model itself"):
        LiveNetwork(model, None, "own")
    model.gpt_neox.final_layer_norm.bias.requires_grad_(True)
    assert LiveNetwork(model, None, "own").names == ["gpt_neox.final_layer_norm.bias"]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft uses an old name
def test_adapters_are_taken_without_their_wrapper(model: Any) -> None:
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["query_key_value"], task_type="CAUSAL_LM"))
    network = LiveNetwork(wrapped, None, "own")
    assert network.names
    assert all("lora_" in name and not name.startswith("base_model") for name in network.names)
    wrapped.extra = torch.nn.Linear(1, 1)
    with pytest.raises(DataError, match="PeftModelForCausalLM trains weights outside of the model"):
        LiveNetwork(wrapped, None, "own")


def test_what_makes_no_logits_is_refused() -> None:
    with pytest.raises(DataError, match="the model is a Linear, no causal language model of transformers"):
        LiveNetwork(torch.nn.Linear(1, 1), None, "own")


def weights() -> list[dict[str, Any]]:
    return [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]


def test_known_optimisers_are_followed_out_of_what_wraps_them() -> None:
    for kind in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD):
        one = kind(weights(), lr=0.1)
        assert followed_optimiser(one) is one
        assert followed_optimiser(type("Wrapper", (), {"optimizer": one})()) is one


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (torch.optim.RMSprop, {}, "can't follow the optimiser RMSprop: by what it divides a gradient isn't known"),
        (torch.optim.Adam, {"amsgrad": True}, "can't follow Adam with amsgrad: it steps by largest second moments"),
        (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.1}, "can't follow SGD with dampening"),
    ],
)
def test_others_are_refused_by_name(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        followed_optimiser(kind(weights(), lr=0.1, **options))


def test_groups_step_alike() -> None:
    groups = [{**group, "betas": betas} for group, betas in zip(weights(), ((0.9, 0.99), (0.9, 0.9)), strict=True)]
    with pytest.raises(DataError, match="whose groups of weights differ in betas"):
        followed_optimiser(torch.optim.AdamW(groups, lr=0.1))
    lr = [{**group, "lr": rate, "weight_decay": rate} for group, rate in zip(weights(), (0.1, 0.1), strict=True)]
    assert followed_optimiser(torch.optim.AdamW(lr)).param_groups[0]["lr"] == 0.1
