"""The training rows' own losses, out of what the trainer computes anyway."""

import csv
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gptfl
from gptfl.recorder.own_losses import OwnLosses
from tests.recorder.own_runs import callback, recorded

Trainers = Callable[..., Any]


def test_own_losses_are_those_of_each_row(trainer_of: Trainers, tmp_path: Path) -> None:
    trainer = trainer_of(
        callback(tmp_path, own_losses=True),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        logging_steps=1,
    )
    trainer.train()
    with (tmp_path / "own.own-losses" / "run-0000.csv").open() as file:
        table = list(csv.DictReader(file))
    (run,) = recorded(tmp_path).runs
    assert [row["id"] for row in table] == [recorded(tmp_path).pool[place].id for (place,) in run.curriculum.batches]
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    np.testing.assert_allclose([float(row["loss"]) for row in table], logged, atol=1e-3)


def test_a_trainer_that_gives_no_losses_of_rows_is_reported_so_once(trainer_of: Trainers, tmp_path: Path) -> None:
    lines: list[str] = []
    own = gptfl.GptflCallback("own", workspace=tmp_path, every=6, own_losses=True, say=lines.append)
    trainer_of(own, label_smoothing_factor=0.1).train()
    assert sum("gives no loss for each row" in line for line in lines) == 1
    assert not (tmp_path / "own.own-losses").exists()


class Model(torch.nn.Module):
    """Gives back the logits that it is given."""

    def forward(self, **given: Any) -> Any:
        return types.SimpleNamespace(**given)


def by_hand(logits: torch.Tensor, labels: list[int]) -> float:
    """The mean loss of the labels of one row, each predicted from the place before."""
    found = [-float(logits[at - 1].log_softmax(-1)[label]) for at, label in enumerate(labels) if at and label != -100]
    return sum(found) / len(found)


def test_padded_rows_and_rows_strung_together_have_the_losses_of_a_loop() -> None:
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, -100, 4, 5], [-100, 6, 0, -100, -100]])
    model = Model()
    own = OwnLosses(model)
    model(logits=logits, labels=labels)
    expected = [by_hand(logits[row], labels[row].tolist()) for row in range(2)]
    assert own.taken(2, pytest.fail) == pytest.approx(expected, rel=1e-5)
    # Two sequences in one row; the first label of the second is none of the first's.
    strung = torch.tensor([[1, 2, 3, -100, 5]])
    model(logits=logits[:1], labels=strung, position_ids=torch.tensor([[0, 1, 2, 0, 1]]))
    expected = [by_hand(logits[0, :3], [1, 2, 3]), by_hand(logits[0, 3:], [-100, 5])]
    assert own.taken(2, pytest.fail) == pytest.approx(expected, rel=1e-5)


def test_log_probabilities_of_labels_serve_as_well() -> None:
    model = Model()
    own = OwnLosses(model)
    likely, mask = torch.tensor([[-1.0, -3.0, 0.0]]), torch.tensor([[1, 1, 0]])
    model(labels=torch.tensor([[1, 2, 3, -100]]), log_probs=likely, label_mask=mask)
    assert own.taken(1, pytest.fail) == [2.0]


def test_what_tells_nothing_is_told_once_and_evaluation_is_not_looked_at() -> None:
    model, lines = Model(), []
    own = OwnLosses(model)
    for _ in range(2):
        model(logits=torch.zeros(1, 2, 3))
        assert own.taken(1, lines.append) is None
    assert len(lines) == 1
    model.eval()
    model(logits=torch.zeros(1, 2, 3), labels=torch.ones(1, 2, dtype=torch.long))
    assert own.taken(0, lines.append) == []
    model.train()
    own.remove()
    model(logits=torch.zeros(1, 2, 3), labels=torch.ones(1, 2, dtype=torch.long))
    assert own.taken(0, lines.append) == []
