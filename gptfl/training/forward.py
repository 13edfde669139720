"""Runs a causal language model of any architecture by its own forward pass, and takes its logits where they are asked."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gptfl.errors import DataError, is_memory_full
from gptfl.training.hub import first_line

if TYPE_CHECKING:
    from gptfl.training.top import Top

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

    Architectures ask for inputs, cuts and sizes of their own, and say so by whatever errors they please.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except STUMBLES as error:
        if is_memory_full(error):
            raise
        raise refusal(f"it fails with {type(error).__name__}: {first_line(error)}") from error


class Scorer(nn.Module):
    """From a batch's token ids to logits at the asked places, as one module: sharding gathers what it holds.

    The model computes them itself, with all that it does to logits: a scale, a cap, a bias. Only what enters the output
    layer is cut to the asked places, so that no logits are computed elsewhere.
    """

    def __init__(self, model: Any, top: "Top | None") -> None:
        super().__init__()
        self.model = model
        self.top: Any = top
        self.arguments = arguments(model)
        self.head: Any = model.get_output_embeddings()

    def forward(self, ids: Tensor, places: Tensor, states: Tensor | None = None) -> Tensor:
        """Logits at the flat ``places`` of ids, (1, asked, vocabulary); ``states`` enter the lowest trained block."""
        alone = contextlib.nullcontext() if states is None else self.top.alone(states)
        with self._cut(ids.shape, places) as cut, alone:
            logits: Tensor = self.model(input_ids=ids, **self.arguments).logits
        return logits if cut else logits.flatten(0, 1)[places][None]

    @contextlib.contextmanager
    def _cut(self, shape: torch.Size, places: Tensor) -> Iterator[list[nn.Module]]:
        """Within, the output layer sees the asked places alone, as one row; yields what was cut so far."""
        seen: list[nn.Module] = []

        def cut(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not args or args[0].shape[:-1] != shape:  # all logits are made, and cut afterwards
                return None
            seen.append(module)
            return (args[0].flatten(0, 1)[places][None], *args[1:])

        handle = None if self.head is None else self.head.register_forward_pre_hook(cut)
        try:
            yield seen
        finally:
            if handle is not None:
                handle.remove()
