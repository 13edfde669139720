"""Runs a causal language model of any architecture by its own forward pass, and takes its logits where they are asked."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptfl.errors import DataError, is_memory_full
from gptfl.hub import first_line
from gptfl.training.quiet import quiet

PLAIN = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_router_logits": False,
    "rescale_every": 0,
}
"""Settings of a model's configuration that change what is returned and no logit.

RWKV's ``rescale_every`` changes weights in place whenever training begins or ends.
"""


STUMBLES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What architectures raise where they are asked for what they can't do."""


def make_plain(model: Any) -> None:
    """Have the model return its logits by name and nothing beside them that costs time."""
    configs = [model.config, *([model.config.get_text_config()] if hasattr(model.config, "get_text_config") else [])]
    for config in configs:
        for name, value in PLAIN.items():
            if name == "return_dict" or hasattr(config, name):
                setattr(config, name, value)


def arguments(model: Any) -> dict[str, Any]:
    """What the forward pass is told beside the token ids: to keep no cache, where it can be told."""
    takes = inspect.signature(model.forward).parameters
    named = "use_cache" in takes
    return {"use_cache": False} if named else {}


def ends(model: Any, count: int) -> dict[str, Any]:
    """Asks a forward pass for the logits of the last ``count`` tokens alone, where it can be asked."""
    return {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


@contextlib.contextmanager
def plain_experts(model: Any) -> Iterator[None]:
    """Within, experts of a mixture are computed one by one, for their grouped product has no forward mode."""
    kept = getattr(model.config, "_experts_implementation", None)
    if kept in (None, "eager") or not hasattr(model, "set_experts_implementation"):
        yield
        return
    model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_experts_implementation(kept)


@contextlib.contextmanager
def explained(refusal: Callable[[str], DataError]) -> Iterator[None]:
    """Within, an error that a model's own code raises becomes the ``refusal`` that tells it; want of memory stays itself.

    Architectures ask for inputs, cuts and sizes of their own, and say so by whatever errors they please. Advice that
    transformers logs once, such as on padding without a mask, is not for whoever reads gptfl's lines.
    """
    try:
        with quiet():
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except STUMBLES as error:
        if is_memory_full(error):
            raise
        raise refusal(f"it fails with {type(error).__name__}: {first_line(error)}") from error
