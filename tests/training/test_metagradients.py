"""Metagradients against finite differences of trainings that are made again with other weights of examples."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptfl.core.packing import Batching
from gptfl.errors import DataError
from gptfl.metrics import Loss
from gptfl.plugins.interfaces import Plan
from gptfl.training.distributed import ProcessGroup
from gptfl.training.gradients import adjoints, sides
from gptfl.training.metagradients import Metagradients, check_recipe, metagradients
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.reference_run import reference_plan
from gptfl.training.trainer import RecordingTrainer, TrainerSettings
from tests.models import save_small
from tests.training.test_trainer import POOL, TEST

STEPS, RATE = 7, 2e-2
TARGETS = [[0], [3], [0, 1, 2, 3, 4]]
HARD = {
    "schedule": "cosine",
    "warmup": 2,
    "weight_decay": 0.1,
    "clip_norm": 0.5,
    "betas": (0.9, 0.95),
    "accumulate": 2,
    "decay": "weights",
}
"""A recipe that has all that a step can have."""
TWICE = [[0, 1, 2], [3, 4, 5], [1, 1, 3], [5, 0, -1], [2, 4, 1], [0, 3, 5], [4, 2, 0]]
"""Batches with an example that is twice in one, and a batch that is short."""


def make(folder: Path, rate: float = RATE, double: bool = True, **recipe: object) -> RecordingTrainer:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    if double:  # what is left of a difference is a mistake
        loaded.model.double()
    return RecordingTrainer(loaded, POOL, TEST, (Loss(),), TrainerSettings(rate, **recipe))  # type: ignore[arg-type]


def plan_of(batches: Sequence[Sequence[int]] | None = None) -> Plan:
    plan = reference_plan(len(POOL), Batching(3), STEPS, 4)
    return plan if batches is None else replace(plan, batches=np.array(batches))


def swept(
    trainer: RecordingTrainer, plan: Plan, targets: Sequence[Sequence[int]] = TARGETS, **more: Any
) -> Metagradients:
    test = sides.test_side(trainer.network, trainer.tokenizer, trainer.evaluator)
    return metagradients(trainer, plan, test, targets, **more)


def retrained(
    trainer: RecordingTrainer, plan: Plan, weights: Float[np.ndarray, " pool"]
) -> Float[np.ndarray, " target"]:
    """The targets' losses after the trainer's own steps, in which each example's loss counts by its weight."""
    test = sides.test_side(trainer.network, trainer.tokenizer, trainer.evaluator)
    torch.manual_seed(plan.seed)
    trainer.network.restore()
    optimiser, rates = trainer.optimiser(), trainer.recipe.rates(len(plan.batches))
    with sides.computed_plainly(trainer.network):
        for members, rate in zip(plan.batches, rates, strict=True):
            pieces = trainer.pieces(members)
            for part, piece in zip([part for part in trainer.parts(members) if part], pieces, strict=True):
                each = torch.from_numpy(weights[part]).repeat_interleave(piece.counts)
                piece.weights = piece.weights.double() * each
            trainer.step(optimiser, pieces, float(rate))
    trainer.network.switch(training=False)
    with torch.no_grad():
        found = [float(trainer.network.loss(test.take(one).batch(trainer.network))) for one in TARGETS]
    trainer.network.restore()
    return np.array(found)


def assert_exact(trainer: RecordingTrainer, plan: Plan, step: float = 3e-7) -> None:
    found = swept(trainer, plan)
    ends = [
        [retrained(trainer, plan, np.ones(len(POOL)) + side * step * one) for side in (1, -1)]
        for one in np.eye(len(POOL))
    ]
    expected = np.array([(up - down) / (2 * step) for up, down in ends])
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(found.losses, np.mean(ends, axis=(0, 1)), rtol=1e-6)
    assert np.abs(expected).max(axis=1).min() > 1e-4  # every example does something


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        ("gpt-neox", HARD),
        ("gpt2", {}),
        ("gpt-neox", {"lora": "r=2,dropout=0.2", "loss_mean": "tokens"}),
        ("gpt-neox", {"train_layers": 1, "clip_norm": 5.0}),
    ],
)
def test_they_are_what_training_again_shows(tmp_path: Path, family: str, recipe: dict[str, Any]) -> None:
    assert_exact(make(save_small(tmp_path, family, blocks=2, width=16), **recipe), plan_of(TWICE))


def test_dropout_draws_the_same_masks_on_the_way_back(tmp_path: Path) -> None:
    trainer = make(save_small(tmp_path, "gpt2", blocks=1, width=16))
    assert not trainer.network.drops
    for module in trainer.network.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    assert trainer.network.drops
    assert_exact(trainer, plan_of())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("metagradients"), "gpt-neox", blocks=1, width=16)


def test_what_is_carried_at_once_changes_nothing(folder: Path) -> None:
    trainer, told = make(folder, **HARD), list[tuple[int, int]]()
    whole = swept(trainer, plan_of(TWICE))
    least = swept(trainer, plan_of(TWICE), memory=1, on_step=lambda done, total: told.append((done, total)))
    np.testing.assert_allclose(least.values, whole.values, rtol=1e-9)
    np.testing.assert_array_equal(least.losses, whole.losses)
    total = STEPS * (1 + 2 * len(TARGETS))  # forwards, and for each target forwards and back
    assert told == [(done, total) for done in range(1, total + 1)]
    singles = swept(trainer, plan_of(TWICE), [[i] for i in range(len(TEST))])
    np.testing.assert_allclose(singles.values.mean(axis=1), whole.values[:, 2], rtol=1e-6)


def test_the_weights_are_those_of_the_start_afterwards_and_the_same_comes_again(folder: Path) -> None:
    trainer = make(folder, double=False)
    first, second = (swept(trainer, plan_of()) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    for weight, was in zip(trainer.network.trainable, trainer.network.initial, strict=True):
        assert torch.equal(weight, was)
    assert not trainer.network.model.training
    exact = swept(make(folder), plan_of())
    off = np.abs(first.values - exact.values).max()
    assert off < 1e-2 * np.abs(exact.values).max()  # float32's steps, seven of them


def test_an_example_that_no_batch_has_changes_nothing(folder: Path) -> None:
    found = swept(make(folder), plan_of([[0, 1], [2, 3], [0, 3]]))
    assert not found.values[[4, 5]].any()
    assert np.abs(found.values[:4]).min() > 0


@pytest.mark.parametrize(
    ("recipe", "words"),
    [({"optimiser": "sgd"}, "the optimiser is sgd: use adamw"), ({"precision": "bf16"}, "the precision is bf16")],
)
def test_a_recipe_that_cant_be_gone_back_through_is_named(folder: Path, recipe: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        swept(make(folder, double=False, **recipe), plan_of())


def test_several_processes_are_refused(folder: Path) -> None:
    trainer = make(folder, double=False)
    trainer.group = ProcessGroup(rank=0, size=2)
    with pytest.raises(DataError, match="by one process, and 2 train together"):
        check_recipe(trainer)


def test_a_metagradient_that_isnt_finite_is_told_with_its_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, real = "gptfl.training.metagradients", adjoints.back_through_batch

    def broken(*given: Any) -> Iterator[tuple[Tensor, list[Tensor | None]]]:
        for products, curved in real(*given):
            yield products * math.inf, curved

    monkeypatch.setattr(f"{module}.check_twice", lambda *given: None)
    monkeypatch.setattr(f"{module}.back_through_batch", broken)
    with pytest.raises(DataError, match="the metagradient isn't finite at step 7 of 7: lower --lr"):
        swept(make(folder, double=False), plan_of())


class _Once(torch.autograd.Function):
    """Has a gradient, and no gradient of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def test_a_model_without_second_derivatives_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(folder, double=False)
    log_probs = trainer.network.log_probs
    monkeypatch.setattr(trainer.network, "log_probs", lambda batch: _Once.apply(log_probs(batch)))
    with pytest.raises(DataError, match="can't be taken in GPTNeoXForCausalLM: its second derivatives give 0 for a"):
        swept(trainer, plan_of())
    for weight, was in zip(trainer.network.trainable, trainer.network.initial, strict=True):
        assert torch.equal(weight, was)
