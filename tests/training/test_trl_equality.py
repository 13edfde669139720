"""Runs of the built-in model step for step against TRL's SFTTrainer, which is given the texts: the same losses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.core import Example
from gptfl.core.curriculum import fill_batches
from gptfl.core.packing import Batching, pack, padded
from gptfl.options.recipe import read_recipe
from tests.training.trainers import (
    ADAM,
    BETAS,
    CHAT,
    CLOSE,
    EACH,
    PAIRS,
    PASSES,
    RATE,
    SCHEDULED,
    STEPS,
    InOrder,
    chats,
    losses_of,
    our_losses,
    recording,
    silent,
)
from tests.training.trainers import tiny as tiny

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
BATCHES = fill_batches(np.arange(len(PAIRS)), PASSES * EACH, STEPS, 4)
LORA = {"lora": "r=2,alpha=8,dropout=0"}


def as_pairs(examples: tuple[Example, ...]) -> list[dict[str, Any]]:
    return [{"prompt": one.prompt, "completion": one.target} for one in examples]


def as_chats(examples: tuple[Example, ...]) -> list[dict[str, Any]]:
    return [{"messages": [turn.message for turn in one.turns]} for one in examples]


def sft(folder: Path, rows: list[dict[str, Any]], into: Path, lora: Any = None, **arguments: Any) -> Any:
    """TRL's trainer over texts, in their order."""
    trl = pytest.importorskip("trl")
    import datasets
    import transformers

    class Trainer(InOrder, trl.SFTTrainer):  # type: ignore[misc, name-defined]
        """TRL's, in the order of the data."""

    with silent():
        given = {
            "per_device_train_batch_size": EACH,
            "gradient_accumulation_steps": PASSES,
            "num_train_epochs": 1,
            "learning_rate": RATE,
            **arguments,
        }
        config = trl.SFTConfig(
            output_dir=str(into),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **given,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = CHAT
        return Trainer(
            model=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
            args=config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=lora,
        )


PAIRED = {name: (recipe, as_pairs, PAIRS) for name, recipe in SCHEDULED.items()}
PAIRED["betas, warm-up by share"] = (BETAS, as_pairs, PAIRS)
PAIRED["no clipping, no decay"] = (({**ADAM, "weight_decay": 0.0}, {"max_grad_norm": 0.0}), as_pairs, PAIRS)
CHATTED = {"assistant's turns": (SCHEDULED["cosine"], as_chats, chats())}


@pytest.mark.parametrize("name", [*PAIRED, *CHATTED])
def test_losses_are_those_of_trls_trainer(tiny: Path, name: str, tmp_path: Path) -> None:
    (ours, theirs), shaped, examples = {**PAIRED, **CHATTED}[name]
    more = {"assistant_only_loss": True} if name in CHATTED else {}
    rows = shaped(examples)
    trainer = sft(tiny, [rows[i] for i in BATCHES.ravel()], tmp_path, **theirs, **more)
    expected = losses_of(trainer)
    made = recording(tiny, examples, **ours, end_token=True, chat_template=CHAT)
    found = our_losses(made, BATCHES)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=CLOSE, rtol=0)


def test_adapters_train_as_trls_do(tiny: Path, tmp_path: Path) -> None:
    from peft import LoraConfig

    ours, theirs = SCHEDULED["cosine"]
    adapters = LoraConfig(r=2, lora_alpha=8, lora_dropout=0.0, target_modules=["query_key_value"], bias="none")
    rows = as_pairs(PAIRS)
    # At larger step sizes, what processors round otherwise in float32 grows beyond the tolerance; in float64 it doesn't.
    theirs = {**theirs, "learning_rate": 3 * RATE}
    trainer = sft(tiny, [rows[i] for i in BATCHES.ravel()], tmp_path, lora=adapters, **theirs)
    made = recording(tiny, PAIRS, **{**ours, **LORA, "learning_rate": 3 * RATE}, end_token=True)
    with torch.no_grad():  # the same first values
        begin = dict(zip(made.network.names, made.network.trainable, strict=True))
        for name, weight in trainer.model.named_parameters():
            if weight.requires_grad:
                weight.copy_(begin.pop(name.removeprefix("base_model.model.")))
    assert not begin
    expected = losses_of(trainer)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(our_losses(made, BATCHES), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("shape", ["prompts and completions", "assistant's turns"])
def test_packed_rows_train_as_trls_do(tiny: Path, shape: str, tmp_path: Path) -> None:
    chat = shape == "assistant's turns"
    examples, shaped = (chats(), as_chats) if chat else (PAIRS, as_pairs)
    ours, theirs = SCHEDULED["linear"]
    made = recording(tiny, examples, **ours, end_token=True, chat_template=CHAT)
    lengths = np.array([len(row.input_ids) + 1 for row in made.rows])
    width = next(w for w in range(lengths.max(), 999) if len(pack(lengths, w)) in (4, 8))
    rows = Batching(4, "bfd", width=width, lengths=lengths).rows(np.arange(len(examples)))
    a_pass = [[i for row in rows[start : start + 4] for i in row] for start in range(0, len(rows), 4)]
    batches = padded(a_pass * (STEPS // len(a_pass)))
    assert len({len(row) for row in rows}) > 1
    more = {"packing": True, "max_length": width, "assistant_only_loss": chat}
    trainer = sft(
        tiny,
        shaped(examples),
        tmp_path,
        **{**theirs, "per_device_train_batch_size": 2, "num_train_epochs": STEPS // len(a_pass), **more},
    )
    expected = losses_of(trainer)
    assert len(expected) == len(batches)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(our_losses(made, batches), expected, atol=CLOSE, rtol=0)


def test_rows_are_packed_as_trl_packs_them() -> None:
    trl = pytest.importorskip("trl")
    import datasets

    random = np.random.default_rng(3)
    for count, width in ((12, 40), (60, 64), (1100, 50)):
        lengths = random.integers(1, width + 10, count)
        data = datasets.Dataset.from_dict({"input_ids": [[i] * int(length) for i, length in enumerate(lengths)]})
        with silent():
            packed = trl.pack_dataset(data, width, "bfd")["input_ids"]
        assert pack(lengths, width) == [list(dict.fromkeys(row)) for row in packed]


def test_a_whole_config_of_trls_is_a_recipe(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    with silent():
        config = trl.SFTConfig(output_dir="x", packing=True, optim="adamw_8bit", use_cpu=True, bf16=False, max_steps=7)
    path = tmp_path / "sft.json"
    path.write_text(config.to_json_string(), encoding="utf-8")
    found = read_recipe(path)
    assert found.trainer == "TRL"
    expected = {
        "packing": "bfd",
        "max_length": 1024,
        "optimiser": "adamw-8bit",
        "steps": 7,
        "end_token": True,
        "lr": 2e-5,
    }
    assert expected.items() <= found.options.items()
    assert {"gradient_checkpointing", "padding_free", "report_to"} <= {*found.ignored, "gradient_checkpointing"}
