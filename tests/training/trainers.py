"""Runs of the built-in model, as gptfl takes them and as other people's trainers do, on one set of examples."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer

from gptfl.core import Example
from gptfl.core.schedules import SCHEDULES
from gptfl.core.turns import Turn
from gptfl.metrics import Loss
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

STEPS, PASSES, EACH = 20, 2, 3
"""A step has two passes of three examples."""
RATE = 2e-3
CLOSE = 1e-5
"""How near the losses of two trainers lie."""
PLACES = ("market", "river", "old mill", "church", "far end of the long road", "well")
ANSWERS = (" a letter", " two loaves of bread", " no", " the blue cup and the bell", " rope", " a fish, I think")
PAIRS = tuple(
    Example(f"p{i}", f"Anna goes to the {PLACES[i % 6]} and buys", ANSWERS[(i + i // 6) % 6]) for i in range(12)
)
TEST = (Example("t0", "Anna goes to the inn and buys", " a lamp"),)
CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|end|>"
    "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""A chat template with the marks from which trainers know what an assistant said."""


def chats() -> tuple[Example, ...]:
    """Conversations of two, three and five turns."""
    found = []
    for i, pair in enumerate(PAIRS):
        said = [("user", f"Who goes to the {PLACES[i % 6]}?"), ("assistant", "Anna does."), ("user", pair.prompt)]
        said = (said if i % 2 else said[2:]) + [("assistant", pair.target.strip())]
        said = ([("system", "Be brief.")] if i % 3 == 0 else []) + said
        turns = [Turn(role, content, role == "assistant") for role, content in said]
        found.append(Example.of_turns(f"c{i}", turns, {}))
    return tuple(found)


class InOrder(Trainer):
    """Trains in the order of the data, and notes the loss of each pass."""

    def _get_train_sampler(self, *given: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *given: Any, **more: Any) -> torch.Tensor:
        loss = super().training_step(*given, **more)
        self.__dict__.setdefault("passes", []).append(float(loss))
        return loss


@contextmanager
def silent() -> Iterator[None]:
    """Within, trainers log nothing."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def losses_of(trainer: Any, passes: int = PASSES) -> list[float]:
    """The loss of each step that a trainer takes, whose passes add up."""
    with silent():
        trainer.train()
    return np.array(trainer.passes).reshape(-1, passes).sum(axis=1).tolist()


@pytest.fixture(scope="session")
def tiny(cache: Path) -> Path:
    """The folder of the built-in model, narrower and with less pre-training: trainers take its steps alike all the same."""
    from gptfl.training import tiny

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny, "STEPS", 40)
        patched.setattr(tiny, "TEXTS", 1000)
        patched.setattr(
            tiny, "SHAPE", {**tiny.SHAPE, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        )
        return tiny.build_tiny()


def recording(
    folder: Path, examples: tuple[Example, ...] = PAIRS, double: bool = False, **recipe: Any
) -> RecordingTrainer:
    """A trainer of gptfl's."""
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    if double:
        loaded.model.double()
    given = {"learning_rate": RATE, "loss_mean": "tokens", "accumulate": PASSES, **recipe}
    return RecordingTrainer(loaded, examples, TEST, (Loss(),), TrainerSettings(**given))


def our_losses(trainer: RecordingTrainer, batches: np.ndarray) -> list[float]:
    """The loss of each step that gptfl takes."""
    rates = trainer.recipe.rates(len(batches))
    optimiser = trainer.optimiser()
    trainer.network.restore()
    steps = zip(batches, rates.tolist(), strict=True)
    return [float(trainer.step(optimiser, trainer.pieces(members), rate)) for members, rate in steps]


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


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Rows padded on the right."""
    width = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    return {
        key: torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows]) for key, value in fill.items()
    }


ADAM = {"epsilon": 1e-8}
SCHEDULED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    name: (
        {**ADAM, "schedule": name, "warmup": 4, "clip_norm": 0.5, "weight_decay": 0.1, "decay": "weights"},
        {
            "lr_scheduler_type": "constant_with_warmup" if name == "constant" else name,
            "warmup_steps": 4,
            "max_grad_norm": 0.5,
            "weight_decay": 0.1,
        },
    )
    for name in SCHEDULES
}
"""Each schedule, with warm-up, clipping and weight decay: as gptfl's settings and as a trainer's."""
BETAS = (
    {
        **ADAM,
        "schedule": "cosine",
        "warmup": 0.11,
        "clip_norm": 0.1,
        "betas": (0.8, 0.95),
        "weight_decay": 0.1,
        "decay": "weights",
    },
    {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.11,
        "max_grad_norm": 0.1,
        "adam_beta1": 0.8,
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
    },
)
