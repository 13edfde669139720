"""Runs of the built-in model step for step against those of transformers' Trainer: the same batches, the same losses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainingArguments

from gptfl.core.curriculum import fill_batches
from gptfl.training.trainer import RecordingTrainer
from tests.training.trainers import (
    ADAM,
    BETAS,
    CLOSE,
    EACH,
    PAIRS,
    PASSES,
    RATE,
    SCHEDULED,
    STEPS,
    InOrder,
    as_rows,
    collate,
    losses_of,
    our_losses,
    recording,
)
from tests.training.trainers import tiny as tiny

BATCHES = fill_batches(np.arange(len(PAIRS)), PASSES * EACH, STEPS, 4)


def their_losses(trainer: RecordingTrainer, into: Path, **more: Any) -> list[float]:
    rows = as_rows(trainer)
    trainer.network.restore()
    given = {"learning_rate": RATE, "adam_epsilon": 1e-8, **more}
    arguments = TrainingArguments(
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
        **given,
    )
    train = [rows[i] for i in BATCHES.ravel()]
    return losses_of(InOrder(model=trainer.network.model, args=arguments, train_dataset=train, data_collator=collate))


RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **SCHEDULED,
    "no clipping, no warm-up": ({**ADAM, "weight_decay": 0.0}, {"max_grad_norm": 0.0}),
    "LoRA, warm-up by share, betas": (
        {**BETAS[0], "lora": "r=2,alpha=8,dropout=0", "learning_rate": 10 * RATE},
        {**BETAS[1], "learning_rate": 10 * RATE},
    ),
    "SGD": (
        {"optimiser": "sgd", "momentum": 0.0, "clip_norm": 1.0, "weight_decay": 0.01, "decay": "weights"},
        {"optim": "sgd", "weight_decay": 0.01},
    ),
    # Moments of 256 values: at larger step sizes a last digit that carries one over to the next shows in the losses.
    "8-bit AdamW": (
        {**ADAM, "learning_rate": RATE / 10, "optimiser": "adamw-8bit", "clip_norm": 1.0, "weight_decay": 0.0},
        {"learning_rate": RATE / 10, "optim": "adamw_bnb_8bit"},
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_those_of_transformers_trainer(tiny: Path, name: str, tmp_path: Path) -> None:
    ours, theirs = RECIPES[name]
    if "8-bit" in name:
        pytest.importorskip("bitsandbytes")
    expected = their_losses(recording(tiny, **ours), tmp_path, **theirs)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(our_losses(recording(tiny, **ours), BATCHES), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("double", [False, True])
def test_losses_of_adafactor_are_as_near_as_its_rounding_lets_them(tiny: Path, double: bool, tmp_path: Path) -> None:
    # It divides by the size of gradients and nothing else, so that those which float32 hardly resolves make as large steps
    # as any; in float64 the two agree.
    ours = {"learning_rate": 1e-4, "optimiser": "adafactor", "clip_norm": 1.0, "weight_decay": 0.0}
    theirs = {"learning_rate": 1e-4, "optim": "adafactor"}
    expected = their_losses(recording(tiny, double=double, **ours), tmp_path, **theirs)
    found = our_losses(recording(tiny, double=double, **ours), BATCHES)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=CLOSE if double else 10 * CLOSE, rtol=0)
