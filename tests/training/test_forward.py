"""A model's own forward pass, told to give back logits and nothing that costs time."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gptfl.errors import DataError
from gptfl.training.forward import arguments, ends, explained, make_plain, plain_experts


class Config(SimpleNamespace):
    text: Any = None

    def get_text_config(self) -> Any:
        return self.text or self


def test_only_settings_that_a_configuration_has_are_changed() -> None:
    inner = Config(output_attentions=True, rescale_every=6)
    config = Config(output_hidden_states=True, text=inner)
    make_plain(SimpleNamespace(config=config))
    assert (config.return_dict, config.output_hidden_states) == (True, False)
    assert not hasattr(config, "output_attentions")
    assert (inner.return_dict, inner.output_attentions, inner.rescale_every) == (True, False, 0)


def test_a_forward_pass_is_told_what_it_takes() -> None:
    def all_of_it(input_ids: Any, use_cache: bool, logits_to_keep: int) -> None: ...

    def nothing(input_ids: Any) -> None: ...

    whole, bare = (SimpleNamespace(forward=one) for one in (all_of_it, nothing))
    assert (arguments(whole), ends(whole, 3)) == ({"use_cache": False}, {"logits_to_keep": 3})
    assert (arguments(bare), ends(bare, 3)) == ({}, {})


def refuse(why: str) -> DataError:
    return DataError(why, "choose another model")


@pytest.mark.parametrize("error", [ValueError("two\nlines"), KeyError("x"), AssertionError(), ZeroDivisionError("by")])
def test_what_an_architecture_raises_is_the_refusal(error: Exception) -> None:
    with pytest.raises(DataError, match=f"it fails with {type(error).__name__}: ") as caught, explained(refuse):
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError(), OSError("disk"), KeyboardInterrupt()])
def test_what_is_not_the_architectures_stays_itself(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explained(refuse):
        raise error
    assert caught.value is error


class Experts:
    def __init__(self, kept: str | None) -> None:
        self.config = SimpleNamespace(_experts_implementation=kept)

    def set_experts_implementation(self, kind: str) -> None:
        self.config._experts_implementation = kind


def test_experts_are_plain_within_and_as_before_afterwards() -> None:
    model = Experts("grouped_mm")
    with pytest.raises(ZeroDivisionError), plain_experts(model):
        assert 1 / (model.config._experts_implementation != "eager")
    assert model.config._experts_implementation == "grouped_mm"
    for kept in (None, "eager"):
        with plain_experts(model := Experts(kept)):
            assert model.config._experts_implementation == kept
    with plain_experts(SimpleNamespace(config=SimpleNamespace())):
        pass
