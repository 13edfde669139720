"""What of a Trainer's recipe gradient sketches have to follow: its loss and its clipping."""

from collections.abc import Callable
from typing import Any

from transformers import Trainer

from gptfl.errors import UsageError

INSTEAD = "leave sketches_at out"


def check_loss(trainer: Any) -> None:
    """Raise ``UsageError``, naming it, for a loss that isn't the mean loss of a batch's labels."""
    kind = type(trainer)
    owner = next(one for one in kind.__mro__ if "compute_loss" in vars(one))
    if owner is not Trainer and (owner.__module__.split(".")[0], owner.__name__) != ("trl", "SFTTrainer"):
        raise UsageError(f"sketches are of the loss of next tokens, and {kind.__name__} has a loss of its own", INSTEAD)
    if trainer.compute_loss_func is not None:
        raise UsageError("sketches are of the loss of next tokens, and the Trainer has a compute_loss_func", INSTEAD)
    for name, usual in (("label_smoothing_factor", 0), ("neftune_noise_alpha", None), ("loss_type", "nll")):
        value = getattr(trainer.args, name, usual)
        if value != usual and value is not None:
            raise UsageError(f"sketches can't follow {name}={value!r}", f"train without it, or {INSTEAD}")


def watch_clipping(trainer: Any, report: Callable[[float], None]) -> Callable[[], None]:
    """Tell by what factor each step's gradient is shortened; what is returned ends that."""
    accelerator = trainer.accelerator
    plain = accelerator.clip_grad_norm_

    def watched(parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Any:
        norm = plain(parameters, max_norm, *args, **kwargs)
        if norm is not None:
            # As torch has it: a gradient of just this length becomes shorter by a millionth.
            report(min(1.0, float(max_norm) / (float(norm) + 1e-6)))
        return norm

    accelerator.clip_grad_norm_ = watched
    return lambda: accelerator.__dict__.pop("clip_grad_norm_", None) and None
