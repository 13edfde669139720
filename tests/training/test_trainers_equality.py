"""Runs step for step against those of transformers' Trainer and TRL's SFTTrainer: the same batches, the same losses."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from gptfl.core import Example
from gptfl.core.curriculum import fill_batches
from gptfl.core.schedules import SCHEDULES
from gptfl.metrics import Loss
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.trainer import RecordingTrainer, TrainerSettings
from tests.training.test_trainer import POOL, TEST

STEPS, PASSES, EACH = 20, 2, 3
"""A step has two passes of three examples."""
RATE = 3e-3
LONGER = tuple(Example(f"q{i}", "the sun", " is red and the sea is blue"[: 7 * (i + 1)]) for i in range(3))
EXAMPLES = (*POOL, *LONGER)


class InOrder(Trainer):
    """Trains in the order of the data, and notes the loss of each pass."""

    def _get_train_sampler(self, *given: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *given: Any, **more: Any) -> torch.Tensor:
        loss = super().training_step(*given, **more)
        self.__dict__.setdefault("passes", []).append(float(loss))
        return loss


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    return {
        key: torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows]) for key, value in fill.items()
    }


def as_rows(trainer: RecordingTrainer) -> list[dict[str, list[int]]]:
    """Whole texts with labels where a token is a target's: a completion mask."""
    rows = []
    for row in trainer.rows:
        ids = [*row.input_ids, int(row.tokens[-1])]
        labels = [-100] * len(ids)
        for place, token in zip(row.positions.tolist(), row.tokens.tolist(), strict=True):
            labels[place + 1] = token
        rows.append({"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)})
    return rows


def recording(folder: Path, **recipe: Any) -> RecordingTrainer:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    return RecordingTrainer(
        loaded, EXAMPLES, TEST, (Loss(),), TrainerSettings(**{"learning_rate": RATE, "loss_mean": "tokens", **recipe})
    )


def our_losses(trainer: RecordingTrainer, batches: np.ndarray) -> list[float]:
    rates = trainer.recipe.rates(len(batches))
    optimiser = trainer.optimiser()
    trainer.network.restore()
    steps = zip(batches, rates.tolist(), strict=True)
    return [float(trainer.step(optimiser, trainer.pieces(members), rate)) for members, rate in steps]


def their_losses(trainer: RecordingTrainer, batches: np.ndarray, into: Path, **arguments: Any) -> list[float]:
    rows = as_rows(trainer)
    trainer.network.restore()
    asked = TrainingArguments(
        output_dir=str(into),
        per_device_train_batch_size=EACH,
        gradient_accumulation_steps=PASSES,
        num_train_epochs=1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_strategy="no",
        **{"learning_rate": RATE, **arguments},
    )
    logging.disable(logging.WARNING)
    theirs = InOrder(
        model=trainer.network.model,
        args=asked,
        train_dataset=[rows[i] for i in batches.ravel()],
        data_collator=collate,
    )
    theirs.train()
    logging.disable(logging.NOTSET)
    return np.array(theirs.passes).reshape(-1, PASSES).sum(axis=1).tolist()


RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{
        name: (
            {"schedule": name, "warmup": 4, "clip_norm": 0.5, "weight_decay": 0.1, "decay": "weights"},
            {
                "lr_scheduler_type": "constant_with_warmup" if name == "constant" else name,
                "warmup_steps": 4,
                "max_grad_norm": 0.5,
                "weight_decay": 0.1,
            },
        )
        for name in SCHEDULES
    },
    "no clipping, no warm-up": ({"weight_decay": 0.0}, {"max_grad_norm": 0.0}),
    "LoRA, warm-up by share, betas": (
        {
            "lora": "r=2,alpha=8,dropout=0",
            "schedule": "cosine",
            "warmup": 0.11,
            "clip_norm": 0.1,
            "betas": (0.8, 0.95),
            "epsilon": 1e-8,
            "weight_decay": 0.1,
            "decay": "weights",
        },
        {
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.11,
            "max_grad_norm": 0.1,
            "adam_beta1": 0.8,
            "adam_beta2": 0.95,
            "adam_epsilon": 1e-8,
            "weight_decay": 0.1,
        },
    ),
    "SGD": (
        {"optimiser": "sgd", "momentum": 0.0, "clip_norm": 1.0, "weight_decay": 0.01, "decay": "weights"},
        {"optim": "sgd", "weight_decay": 0.01},
    ),
    "Adafactor": (
        {"learning_rate": 1e-4, "optimiser": "adafactor", "clip_norm": 1.0, "weight_decay": 0.0},
        {"learning_rate": 1e-4, "optim": "adafactor"},
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_those_of_transformers_trainer(neox: Path, name: str, tmp_path: Path) -> None:
    ours, theirs = RECIPES[name]
    theirs = {"adam_epsilon": 1e-6, **theirs}
    batches = fill_batches(np.arange(len(EXAMPLES)), PASSES * EACH, STEPS, 4)
    trainer = recording(neox, accumulate=PASSES, **ours)
    expected = their_losses(trainer, batches, tmp_path, **theirs)
    found = our_losses(recording(neox, accumulate=PASSES, **ours), batches)
    assert max(expected) - min(expected) > 0.1
    # Where gradients are hardly more than rounding, Adafactor steps by their sign.
    np.testing.assert_allclose(found, expected, atol=1e-4 if name == "Adafactor" else 1e-5, rtol=0)


def test_losses_are_those_of_trls_trainer(neox: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")

    class InOrderToo(InOrder, trl.SFTTrainer):
        """The same over TRL's trainer."""

    trainer = recording(
        neox, accumulate=PASSES, schedule="cosine", warmup=4, clip_norm=1.0, epsilon=1e-8, weight_decay=0.0
    )
    batches = fill_batches(np.arange(len(EXAMPLES)), PASSES * EACH, STEPS, 4)
    rows = as_rows(trainer)
    trainer.network.restore()
    asked = trl.SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=EACH,
        gradient_accumulation_steps=PASSES,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        warmup_steps=4,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    theirs = InOrderToo(
        model=trainer.network.model,
        args=asked,
        train_dataset=datasets.Dataset.from_list([rows[i] for i in batches.ravel()]),
        data_collator=collate,
        processing_class=trainer.network.loaded.tokenizer,
    )
    theirs.train()
    expected = np.array(theirs.passes).reshape(-1, PASSES).sum(axis=1)
    again = recording(
        neox, accumulate=PASSES, schedule="cosine", warmup=4, clip_norm=1.0, epsilon=1e-8, weight_decay=0.0
    )
    np.testing.assert_allclose(our_losses(again, batches), expected, atol=1e-5, rtol=0)
