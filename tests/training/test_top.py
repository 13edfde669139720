"""The top blocks of a decoder by themselves: the states that enter them, and what can't be taken apart."""

from pathlib import Path

import pytest
import torch

from gptfl.errors import DataError
from gptfl.training.load import load_model
from gptfl.training.top import Top, check_count, decoder_blocks, find_blocks
from tests.training.test_trainer import make


def test_train_layers_out_of_range_is_refused(neox: Path) -> None:
    with pytest.raises(DataError, match="--train-layers 4: the model has 2 blocks"):
        make(neox, train_layers=4)


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


def test_states_that_enter_the_top_give_the_whole_models_logits(any_model: Path) -> None:
    model = load_model(str(any_model)).model
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
        for count in (1, 2, 3):
            top = Top(model, count)
            states = top.states_below(IDS)
            assert states.shape[:2] == IDS.shape
            with top.alone(states):
                found = model(input_ids=torch.ones_like(IDS)).logits
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(model(input_ids=IDS).logits, expected)


def test_the_norm_after_the_top_is_trained_with_it(neox: Path) -> None:
    model = load_model(str(neox)).model
    top = Top(model, 1)
    assert top.trained == [model.gpt_neox.layers[1], model.gpt_neox.final_layer_norm]
    assert len(decoder_blocks(model)) == 2


def test_blocks_are_found_at_any_depth_or_not_at_all() -> None:
    class Model(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.base_model = inner

    deep = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(1, 1)))
    assert find_blocks(Model(deep)) is None
    assert len(decoder_blocks(Model(deep))) == 0
    deep[0][0].h = torch.nn.ModuleList([torch.nn.Linear(1, 1)] * 3)
    assert find_blocks(Model(deep)) == (deep[0][0], "h")
    check_count(Model(torch.nn.Linear(1, 1)), 99)
    for count in (0, 4):
        with pytest.raises(DataError, match=f"--train-layers {count}: the model has 3 blocks: ask for fewer"):
            check_count(Model(deep), count)


def test_blocks_that_share_weights_with_those_below_are_refused(neox: Path) -> None:
    model = load_model(str(neox)).model
    model.gpt_neox.layers[1].mlp = model.gpt_neox.layers[0].mlp
    with pytest.raises(DataError, match="can't be trained alone: blocks below the top share their weights"):
        Top(model, 1)
