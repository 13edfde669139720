"""What of a Trainer's recipe sketches follow, and what they refuse by name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from gptfl.errors import GptflError, UsageError
from gptfl.recorder.trainer_recipe import check_loss, watch_clipping
from tests.recorder.own_runs import callback

Trainers = Callable[..., Any]


@pytest.mark.parametrize(
    ("own", "options", "message"),
    [
        ({}, {"optim": "adafactor"}, "sketches can't follow the optimiser Adafactor"),
        ({}, {"label_smoothing_factor": 0.1}, "sketches can't follow label_smoothing_factor=0.1"),
        ({}, {"neftune_noise_alpha": 5.0}, "sketches can't follow neftune_noise_alpha=5.0"),
        ({"sketches_at": [7]}, {}, "sketches_at names step 7, and the run has 6"),
        ({"sketch_modules": "*foo*"}, {}, "sketch_modules '*foo*' fits no trained weight of"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_by_name(
    trainer_of: Trainers, tmp_path: Path, own: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    trainer = trainer_of(callback(tmp_path, **{"sketches_at": "auto", **own}), **options)
    with pytest.raises(GptflError, match=re.escape(message)) as found:
        trainer.train()
    assert "\n" not in str(found.value)
    assert trainer.state.global_step == 0
    assert not (tmp_path / "own.dynamics.h5").exists()


def test_a_trainer_with_a_loss_of_its_own_is_refused(trainer_of: Trainers, tmp_path: Path) -> None:
    class Weighted(hf.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return super().compute_loss(*args, **kwargs)

    trainer = trainer_of(callback(tmp_path, sketches_at="auto"))
    trainer.__class__ = Weighted
    with pytest.raises(GptflError, match="Weighted has a loss of its own"):
        trainer.train()


def test_the_loss_of_transformers_and_a_quiet_subclass_is_followed(trainer_of: Trainers) -> None:
    class Quiet(hf.Trainer):
        def log(self, *args: Any, **kwargs: Any) -> None:
            pass

    trainer = trainer_of()
    check_loss(trainer)
    trainer.__class__ = Quiet
    check_loss(trainer)
    trainer.compute_loss_func = lambda *args: None
    with pytest.raises(UsageError, match=r"the Trainer has a compute_loss_func: leave sketches_at out"):
        check_loss(trainer)


def test_the_factor_of_a_step_is_that_by_which_torch_clips() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    factors: list[float] = []

    class Accelerator:
        def clip_grad_norm_(self, parameters: Any, max_norm: float) -> torch.Tensor:
            return torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    trainer = type("Stub", (), {"accelerator": Accelerator()})()
    stop = watch_clipping(trainer, factors.append)
    for size in (10.0, 0.1):
        weight.grad = torch.full((4,), size)
        trainer.accelerator.clip_grad_norm_([weight], 1.0)
        assert float(weight.grad[0]) == pytest.approx(size * factors[-1], rel=1e-6)
    assert factors == [pytest.approx(0.05, rel=1e-4), 1.0]
    stop()
    weight.grad = torch.full((4,), 10.0)
    trainer.accelerator.clip_grad_norm_([weight], 1.0)
    assert len(factors) == 2
    stop()
