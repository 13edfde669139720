"""Optimisers, and which weights each of their groups has."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.training.optimisers import JointOptimiser, decayed
from tests.training.test_trainer import RATE, make, plan


def test_by_trainers_rule_neither_biases_nor_norms_decay(any_model: Path) -> None:
    trainer = make(any_model, decay="weights", weight_decay=0.1)
    names = decayed(trainer.network.model)
    assert names
    assert not [name for name in names if "bias" in name or "norm" in name]
    kept, spared = trainer.optimiser().param_groups
    assert (kept["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert all(weight.dim() == 2 for weight in kept["params"])
    assert len(kept["params"]) + len(spared["params"]) == len(trainer.network.trainable)
    (whole,) = make(any_model, weight_decay=0.1).optimiser().param_groups
    assert whole["weight_decay"] == 0.1


def test_muon_has_the_matrices_of_blocks_and_adamw_the_rest(neox: Path) -> None:
    trainer = make(neox, optimiser="muon", momentum=0.9)
    optimiser = trainer.optimiser()
    assert isinstance(optimiser, JointOptimiser)
    matrices, rest = optimiser.param_groups
    named = dict(zip(map(id, trainer.network.trainable), trainer.network.names, strict=True))
    assert all("layers" in named[id(p)] and p.dim() == 2 for p in matrices["params"])
    assert "gpt_neox.embed_in.weight" in {named[id(p)] for p in rest["params"]}
    assert id(trainer.network.head.weight) in {id(p) for p in rest["params"]}
    assert len(matrices["params"]) + len(rest["params"]) == len(named)


@pytest.mark.parametrize("optimiser", ["muon", "adafactor", "sgd"])
def test_a_run_repeats_exactly_and_every_weight_moves(neox: Path, optimiser: str) -> None:
    trainer = make(neox, optimiser=optimiser, momentum={"muon": 0.95, "sgd": 0.5}.get(optimiser), clip_norm=1.0)
    first = trainer.run(plan(2), lambda done, total: None)
    start = trainer.network.initial
    assert all(not torch.equal(p, was) for p, was in zip(trainer.network.trainable, start, strict=True))
    again = trainer.run(plan(2), lambda done, total: None)
    np.testing.assert_array_equal(first.metrics["loss"], again.metrics["loss"])


def test_a_step_of_sgd_is_the_clipped_mean_over_tokens(neox: Path) -> None:
    trainer = make(
        neox, optimiser="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.25, loss_mean="tokens", accumulate=2
    )
    members = np.array([0, 1, 2, 5, -1])
    tokens = sum(len(trainer.rows[i].tokens) for i in members[:4])
    trainer.network.switch(training=True)
    log_probs = torch.cat([trainer.network.log_probs(trainer.batch(members[i : i + 1])) for i in range(4)])
    assert log_probs.shape == (tokens,)
    gradient = torch.autograd.grad(-log_probs.mean(), trainer.network.trainable)
    norm = float(torch.cat([one.flatten() for one in gradient]).norm())
    before = [p.detach().clone() for p in trainer.network.trainable]
    loss = trainer.step(trainer.optimiser(), trainer.pieces(members), RATE)
    assert norm > 0.25
    assert float(loss) == pytest.approx(-float(log_probs.detach().mean()), rel=1e-5)
    assert float(trainer.clipped) == pytest.approx(0.25 / norm, rel=1e-4)
    for p, was, one in zip(trainer.network.trainable, before, gradient, strict=True):
        torch.testing.assert_close(p - was, -RATE * 0.25 / norm * one, atol=1e-7, rtol=1e-2)


def test_without_dropout_models_and_adapters_drop_nothing(neox: Path) -> None:
    trainer = make(neox, lora="r=2,alpha=8,dropout=0.5", dropout=False)
    assert not trainer.network.drops
    trainer.network.switch(training=True)
    assert not trainer.network.model.training
    dropping = make(neox, lora="r=2,alpha=8,dropout=0.5")
    assert dropping.network.drops
    dropping.network.switch(training=True)
    assert dropping.network.model.training
