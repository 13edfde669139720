"""Adapters over weights in few bits: what is computed, what of gradients is right, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.options.recording import TrainingOptions
from gptfl.recording.recipe import check_quantised
from gptfl.training.quantised import check_quantise
from gptfl.training.reference_run import Setup
from gptfl.training.trainer import RecordingTrainer
from tests.models import save_small
from tests.training.test_trainer import make, plan

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes")
LORA = "r=2,alpha=8,dropout=0,targets=all-linear"
MEMBERS = np.array([0, 1, 5])


def losses(trainer: RecordingTrainer) -> tuple[torch.Tensor, list[torch.Tensor]]:
    trainer.network.switch(training=True)
    loss = trainer.network.loss(trainer.batch(MEMBERS))
    return loss.detach(), list(torch.autograd.grad(loss, trainer.network.trainable))


@pytest.fixture
def adapted(neox: Path) -> RecordingTrainer:
    """A trainer of adapters over 4 bits, which have moved from their first values."""
    pytest.importorskip("bitsandbytes")
    trainer = make(neox, lora=LORA, quantize="4bit")
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in trainer.network.trainable:
            weight.add_(0.1 * torch.randn_like(weight))
    return trainer


def test_what_is_computed_is_that_of_the_weights_that_4_bits_stand_for(neox: Path, adapted: RecordingTrainer) -> None:
    import bitsandbytes as bnb

    plain = make(neox, lora=LORA)
    kept = 0
    for name, module in adapted.network.model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            weight = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            other = plain.network.model.get_submodule(name)
            assert 0 < float((weight - other.weight).abs().max()) < 0.5
            with torch.no_grad():
                other.weight.copy_(weight)
            kept += 1
    assert kept == 8  # four linear modules a block, and no output layer
    assert type(adapted.network.head) is nn.Linear
    with torch.no_grad():
        for own, other in zip(plain.network.trainable, adapted.network.trainable, strict=True):
            own.copy_(other)
    assert plain.network.names == adapted.network.names
    (ours, our_gradients), (theirs, their_gradients) = losses(adapted), losses(plain)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-2)


def test_adapters_alone_are_trained_and_their_gradients_can_be_taken_apart(adapted: RecordingTrainer) -> None:
    assert all("lora" in name for name in adapted.network.names)
    Setup.of(adapted)  # holds the gradients of single examples against autograd's
    run = adapted.run(plan(3), lambda done, total: None)
    again = adapted.run(plan(3), lambda done, total: None)
    np.testing.assert_array_equal(run.metrics["loss"], again.metrics["loss"])
    assert not np.array_equal(run.metrics["loss"][0], run.metrics["loss"][-1])


def test_eight_bits_are_trained_through(neox: Path) -> None:
    pytest.importorskip("bitsandbytes")
    whole, trainer = make(neox, lora=LORA), make(neox, lora=LORA, quantize="8bit")
    loss, gradients = losses(trainer)
    assert float(loss) == pytest.approx(float(losses(whole)[0]), rel=0.2)
    assert any(bool(one.abs().max() > 0) for one in gradients)


def test_derivatives_along_a_run_are_those_of_the_weights_that_4_bits_stand_for(neox: Path) -> None:
    pytest.importorskip("bitsandbytes")
    trainer = make(neox, lora=LORA, quantize="4bit", derivatives=True)
    run = trainer.run(plan(3), lambda done, total: None)
    changes = np.diff(run.metrics["loss"], axis=0)
    np.testing.assert_allclose(run.derivatives["update"][1:], changes, atol=0.1 * np.abs(changes).max())


def test_a_model_without_linear_modules_of_torchs_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder = save_small(tmp_path / "gpt2", "gpt2")
    with pytest.raises(DataError, match=r"gpt2 \(GPT2LMHeadModel\) has no linear modules of torch's to quantise"):
        make(folder, lora="r=2,alpha=8,dropout=0", quantize="4bit")


@pytest.mark.parametrize(
    ("options", "shard", "problem"),
    [
        ({"quantize": "2bit", "lora": "r=2"}, False, "quantize '2bit' is unknown: use 4bit or 8bit"),
        ({"quantize": "4bit"}, False, "--quantize 4bit without --lora"),
        ({"quantize": "4bit", "lora": "r=2"}, True, "--shard with --quantize 4bit"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], shard: bool, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_quantised(TrainingOptions(**options), shard)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        ResourceError, match="--quantize 4bit needs the package bitsandbytes, which isn't there"
    ) as caught:
        check_quantise("4bit")
    assert "pip install 'gptfl[quantized]'" in str(caught.value)
    check_quantise(None)
