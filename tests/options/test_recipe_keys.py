"""What trainers call the settings of a recipe."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from gptfl.core.recording_settings import OPTIMISERS as KNOWN_OPTIMISERS
from gptfl.core.schedules import SCHEDULES as KNOWN_SCHEDULES
from gptfl.options.base import places
from gptfl.options.recipe_keys import (
    AXOLOTL,
    LLAMA_FACTORY,
    OPTIMISERS,
    OTHERS,
    REFUSED,
    RENAMED,
    SCHEDULES,
    TRL,
    Refused,
    meant_by,
)
from gptfl.options.recording import CollectOptions


def test_every_name_stands_for_an_option_that_there_is() -> None:
    own = {place.name for place in places(CollectOptions)}
    assert set(RENAMED.values()) <= own
    assert set(SCHEDULES.values()) == set(KNOWN_SCHEDULES)
    assert set(OPTIMISERS.values()) == set(KNOWN_OPTIMISERS)


def test_a_key_is_taken_read_or_refused_and_not_two_of_these() -> None:
    taken, read, refused = set(RENAMED), set(OTHERS), set(REFUSED)
    assert not taken & read
    assert not taken & refused
    assert not read & refused
    assert len(OTHERS) == len(read)


def test_no_trainer_is_known_by_a_key_of_another() -> None:
    for one, other in ((AXOLOTL, LLAMA_FACTORY), (AXOLOTL, TRL), (LLAMA_FACTORY, TRL)):
        assert not set(one) & set(other)


@pytest.mark.parametrize(
    ("key", "usual", "other"),
    [
        ("use_dora", (False, None), (True,)),
        ("neftune_noise_alpha", (None, 0, 0.0), (5, 0.1)),
        ("loss_type", ("nll", None), ("dft", "")),
        ("completion_only_loss", (True, None), (False,)),
        ("train_on_inputs", (False, None), (True, "false")),
        ("optim_args", (None, ""), ("a=1",)),
        ("peft_init_lora_weights", (None, True), ("pissa", False)),
        ("mask_history", (None, False), (True,)),
        ("eos_token", (None, "", "<EOS_TOKEN>"), ("<|im_end|>",)),
    ],
)
def test_a_value_that_changes_nothing_is_passed_over(
    key: str, usual: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert all(REFUSED[key].is_usual(value) for value in usual)
    assert not any(REFUSED[key].is_usual(value) for value in other)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("learning_rat", "learning_rate"),
        ("weight_deacy", "weight_decay"),
        ("neftune_noise_alfa", "neftune_noise_alpha"),
        ("per_device_eval_batch_size", None),
        ("eval_steps", None),
        ("gradient_checkpointing", None),
        ("report_to", None),
    ],
)
def test_a_key_that_is_nearly_a_known_one_may_be_that(key: str, meant: str | None) -> None:
    assert meant_by(key) == meant


def test_no_setting_of_a_trainer_is_taken_for_another() -> None:
    known = {*RENAMED, *OTHERS, *REFUSED}
    names = {one.name for one in fields(TrainingArguments)} - known
    assert len(names) > 40
    assert [name for name in names if meant_by(name) is not None] == []


def test_what_is_refused_says_why_and_what_to_do() -> None:
    for key, refused in REFUSED.items():
        assert isinstance(refused, Refused)
        for text in (refused.why, refused.remedy):
            assert text, key
            assert not text.endswith("."), key
            assert "\n" not in text, key
