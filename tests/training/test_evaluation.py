"""Test examples as they are measured: every one by itself, whatever the layout, and nothing that isn't finite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from gptfl.core import MetricInfo
from gptfl.metrics import Accuracy, Loss
from gptfl.plugins.interfaces import Observation
from gptfl.training.evaluation import NotFiniteError
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.trainer import RecordingTrainer, TrainerSettings
from tests.training.test_trainer import CHOICES, POOL, RATE, TEST, log_probs, make, plan


def test_single_token_choices_share_the_row_of_the_target(neox: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(neox)
    assert [len(tokenizer.encode(c, add_special_tokens=False)) for c in CHOICES] == [1, 1, 2]
    rows = make(neox).evaluator.layout.rows
    assert len(rows) == 2 * len(TEST)


def test_choices_are_compared_after_one_prompt_cut_for_the_longest(neox: Path) -> None:
    """Three tokens of room after the two of the longest choice, for every choice and for the loss."""
    trainer = make(neox, max_length=5)
    tokenizer = AutoTokenizer.from_pretrained(neox)
    seen = trainer.evaluator.observe()
    assert seen.choice_log_probs is not None
    lost = []
    for example, target, choices in zip(TEST, seen.target_log_prob, seen.choice_log_probs, strict=True):
        prompt = tokenizer.encode(example.prompt)
        lost.append(max(0, len(prompt) - 3))
        kept = tokenizer.decode(prompt[-3:])
        assert tokenizer.encode(kept) == prompt[-3:]
        model = trainer.network.model
        expected = [log_probs(model, tokenizer, kept, choice).sum().item() for choice in CHOICES]
        np.testing.assert_allclose(choices, expected, atol=1e-4)
        assert target == choices[example.label]
    own = [max(0, len(tokenizer.encode(e.prompt + e.target)) - 5) for e in POOL]
    assert trainer.tokenizer.counts.lost == sum(lost) + sum(own)
    assert trainer.tokenizer.counts.cut == sum(map(bool, lost)) + sum(map(bool, own))


def test_a_lost_model_is_noticed_whatever_the_metric(neox: Path) -> None:
    loaded = load_pretrained(resolve_model(str(neox)), torch.device("cpu"))
    trainer = RecordingTrainer(loaded, POOL, TEST, (Accuracy(),), TrainerSettings(RATE))
    with torch.no_grad():
        trainer.network.trainable[0].fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="the log-probability of test example 't0' is nan"):
        trainer.evaluator.measure()


def test_a_metric_that_is_not_finite_is_named_with_its_example(neox: Path) -> None:
    class Holed(Loss):
        info = MetricInfo("holed", higher_is_better=False)

        def measure(self, observation: Observation) -> np.ndarray:
            return np.array([0.0, 0.0, np.nan, 0.0, 0.0])

    loaded = load_pretrained(resolve_model(str(neox)), torch.device("cpu"))
    trainer = RecordingTrainer(loaded, POOL, TEST, (Holed(),), TrainerSettings(RATE))
    with pytest.raises(NotFiniteError, match="the holed of test example 't2' is nan: look at this example"):
        trainer.run(plan(), lambda done, total: None)
