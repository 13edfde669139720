"""Which precision a device gets, and what becomes of a step whose gradients overflow."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.errors import UsageError
from gptfl.training.precision import loss_scaler, resolve_precision
from gptfl.training.trainer import SCALINGS, DivergedError
from tests.training.test_trainer import make, plan


@pytest.mark.parametrize(
    ("precision", "device", "supported", "expected"),
    [
        ("auto", "cpu", False, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp16"),
        ("fp16", "cuda", True, "fp16"),
        ("bf16", "cpu", False, "bf16"),
    ],
)
def test_auto_takes_what_the_device_has(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: str, supported: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert resolve_precision(precision, device) == expected


def test_what_makes_no_sense_is_named() -> None:
    with pytest.raises(UsageError, match=r"--precision fp16 on cpu: .*: use bf16 or fp32"):
        resolve_precision("fp16", "cpu")
    with pytest.raises(UsageError, match="precision 'int8' is unknown: use auto, fp32, bf16, fp16"):
        resolve_precision("int8", "cuda")


def test_only_fp16_scales() -> None:
    assert not loss_scaler("bf16", torch.device("cpu")).is_enabled()
    assert loss_scaler("fp16", torch.device("cpu")).is_enabled()


def test_bf16_is_near_fp32_and_keeps_its_weights_in_fp32(neox: Path) -> None:
    full = make(neox).run(plan(), lambda done, total: None)
    trainer = make(neox, precision="bf16")
    half = trainer.run(plan(), lambda done, total: None)
    assert {weight.dtype for weight in trainer.network.trainable} == {torch.float32}
    np.testing.assert_allclose(half.metrics["loss"], full.metrics["loss"], rtol=0.03, atol=0.03)
    assert abs(half.metrics["loss"] - full.metrics["loss"]).max() > 1e-5


def test_a_step_that_overflows_is_done_again_at_half_the_scale(neox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale begins so large that float32 overflows: after halvings every step is carried out, none is lost."""
    scalers = []

    def scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**127))
        return scalers[-1]

    expected = make(neox).run(plan(), lambda done, total: None)
    monkeypatch.setattr("gptfl.training.trainer.loss_scaler", scaler)
    trainer = make(neox)
    first = trainer.run(plan(), lambda done, total: None)
    again = trainer.run(plan(), lambda done, total: None)
    np.testing.assert_allclose(first.metrics["loss"], expected.metrics["loss"], atol=1e-4)
    np.testing.assert_array_equal(first.metrics["loss"], again.metrics["loss"])
    assert scalers[-1].get_scale() < 2.0**127


def test_a_step_that_always_overflows_ends_the_run(neox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(neox)
    weights = [weight.clone() for weight in trainer.network.trainable]
    calls = itertools.count()

    def overflow(pieces: object) -> torch.Tensor:
        next(calls)
        for weight in trainer.network.trainable:
            weight.grad = torch.full_like(weight, float("inf"))
        return torch.tensor(1.0)

    monkeypatch.setattr("gptfl.training.trainer.loss_scaler", lambda *given: torch.amp.GradScaler("cpu"))
    monkeypatch.setattr(trainer, "differentiate", overflow)
    # The scaler looks for overflow only in a loss that it scaled.
    real = torch.amp.GradScaler.step

    def step(self: torch.amp.GradScaler, optimiser: torch.optim.Optimizer) -> object:
        self.scale(torch.tensor(1.0))
        return real(self, optimiser)

    monkeypatch.setattr(torch.amp.GradScaler, "step", step)
    with pytest.raises(DivergedError, match="the loss of the batch is inf at step 1 of 4"):
        trainer.run(plan(), lambda done, total: None)
    assert next(calls) == SCALINGS
    assert all(torch.equal(a, b) for a, b in zip(weights, trainer.network.trainable, strict=True))
