"""What trainers' settings say of packing, rows and few bits."""

from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.options.recipe_parts import bits, is_true, packing, refusal, rows
from gptfl.options.types import LONGEST


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"packing": True}, {"packing": "bfd"}),
        ({"packing": "True"}, {"packing": "bfd"}),
        ({"packing": False}, {}),
        ({"sample_packing": True, "group_by_length": True}, {"packing": "bfd"}),
        ({"packing_strategy": "wrapped"}, {}),
        ({"group_by_length": "true"}, {"group_by_length": True}),
        ({"train_sampling_strategy": "group_by_length"}, {"group_by_length": True}),
        ({"train_sampling_strategy": "random"}, {}),
    ],
)
def test_packing_and_grouping(given: dict[str, Any], found: dict[str, Any]) -> None:
    assert packing(given, "r.yaml", "TRL") == found


@pytest.mark.parametrize(
    ("given", "trainer", "piece"),
    [
        (
            {"packing": True},
            "LLaMA-Factory",
            "r.yaml: packing is true, and the examples of a row would see one another",
        ),
        (
            {"packing": True, "packing_strategy": "wrapped"},
            "TRL",
            'packing_strategy is "wrapped", and it cuts examples',
        ),
        ({"train_sampling_strategy": "sequential"}, "TRL", 'train_sampling_strategy is "sequential"'),
    ],
)
def test_packing_in_which_examples_see_one_another_is_refused(given: dict[str, Any], trainer: str, piece: str) -> None:
    with pytest.raises(UsageError) as caught:
        packing(given, "r.yaml", trainer)
    assert piece in str(caught.value)
    assert packing({"neat_packing": True}, "r.yaml", "LLaMA-Factory") == {"packing": "bfd"}


def test_rows_are_of_the_field_that_is_named() -> None:
    assert rows({}, "r.yaml") == rows({"dataset_text_field": "text"}, "r.yaml") == {}
    assert rows({"dataset_text_field": "bödy"}, "r.yaml") == {"fields": "text=bödy"}
    assert rows({"assistant_only_loss": "true"}, "r.yaml") == {"loss_on": "assistant"}
    for wrong in ("", None, 3, ["a"]):
        with pytest.raises(UsageError, match=r"dataset_text_field is .*the name of a field is expected: write one"):
            rows({"dataset_text_field": wrong}, "r.yaml")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, None),
        ({"load_in_4bit": True}, "4bit"),
        ({"load_in_8bit": "true"}, "8bit"),
        ({"quantization_bit": 4}, "4bit"),
        ({"quantization_bit": "8"}, "8bit"),
        ({"adapter": "qlora"}, "4bit"),
        ({"adapter": "qlora", "load_in_8bit": True}, "8bit"),
        ({"adapter": "lora", "load_in_4bit": False}, None),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "4bit"),
        ({"bnb_4bit_quant_type": "fp4"}, None),
    ],
)
def test_weights_in_few_bits(given: dict[str, Any], kept: str | None) -> None:
    assert bits(given, "r.yaml", lora=True) == ({} if kept is None else {"quantize": kept})


@pytest.mark.parametrize(
    ("given", "lora", "piece"),
    [
        ({"quantization_bit": 3}, True, "quantization_bit is 3, and weights are kept in 4 or 8 bits: use 4 or 8"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, True, 'bnb_4bit_quant_type is "fp4"'),
        ({"load_in_8bit": True}, False, "over weights in few bits adapters alone can be trained"),
    ],
)
def test_bits_that_can_not_be_followed_are_refused(given: dict[str, Any], lora: bool, piece: str) -> None:
    with pytest.raises(UsageError) as caught:
        bits(given, "r.yaml", lora)
    assert piece in str(caught.value)


def test_yaml_of_some_tools_has_true_as_a_text() -> None:
    assert [is_true(one) for one in (True, "true", "True", "TRUE")] == [True] * 4
    assert [is_true(one) for one in (False, None, 1, "yes", "", "1")] == [False] * 6


def test_a_value_of_no_end_is_one_short_line() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, list(range(10_000)), {"a": object()}):
        error = refusal("r.yaml", "key", value, "why", "do this")
        assert isinstance(error, UsageError)
        assert "\n" not in error.line
        assert len(error.problem) < LONGEST + 60
        assert error.problem.startswith("r.yaml: key is ")
        assert error.remedy == "do this"
