"""Log-probabilities of asked tokens, by the own forward pass of a model of any architecture."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gptfl.training.forward import arguments

if TYPE_CHECKING:
    from gptfl.training.top import Top


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
