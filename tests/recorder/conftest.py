"""A tiny causal language model, data for it, and Trainers that train it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers as hf

from tests.models import WORDS, save_small


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("own") / "gpt2", "gpt2", blocks=1, width=16)


@pytest.fixture(scope="session")
def tokenizer(small: Path) -> Any:
    return hf.AutoTokenizer.from_pretrained(small)


@pytest.fixture(scope="session")
def rows(tokenizer: Any) -> list[dict[str, Any]]:
    """24 rows of tokens, of different lengths; the last 6 are for tests."""
    random = np.random.default_rng(0)
    found = []
    for number in range(24):
        prompt, target = (" ".join(random.choice(WORDS.split(), size)) for size in (3 + number % 4, 1 + number % 3))
        prompt_ids, answer = tokenizer(prompt)["input_ids"], tokenizer(" " + target)["input_ids"]
        labels = [-100] * len(prompt_ids) + answer
        found.append({"id": f"r{number}", "input_ids": prompt_ids + answer, "labels": labels})
    return found


@pytest.fixture
def trainer_of(small: Path, tokenizer: Any, rows: list[dict[str, Any]], tmp_path: Path) -> Callable[..., hf.Trainer]:
    """A Trainer of the tiny model with dropout: 12 rows, two passes, accumulation, 6 steps."""

    def made(*callbacks: Any, data: Any = None, keep: int | None = None, **options: Any) -> hf.Trainer:
        model = hf.AutoModelForCausalLM.from_pretrained(small)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
        arguments = hf.TrainingArguments(
            **{
                "output_dir": str(tmp_path / "out"),
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "num_train_epochs": 2,
                "learning_rate": 1e-3,
                "report_to": [],
                "save_strategy": "no" if keep is None else "steps",
                "save_steps": keep or 500,
                "use_cpu": True,
                "dataloader_pin_memory": False,
                "disable_tqdm": True,
                **options,
            }
        )
        return hf.Trainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows[:12]) if data is None else data,
            eval_dataset=datasets.Dataset.from_list(rows[18:]),
            data_collator=hf.DataCollatorForSeq2Seq(tokenizer),
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )

    return made
