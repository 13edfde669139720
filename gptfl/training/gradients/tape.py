"""Runs examples through the network and keeps, at every trained layer, what their gradients are made of."""

import contextlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gptfl.errors import DataError, UsageError
from gptfl.interruption import uninterrupted
from gptfl.training.gradients.factored import Block, Held
from gptfl.training.gradients.layers import Call, LayerLayout, Parts, differentiable, parts_of, recomputed
from gptfl.training.gradients.sides import Side, measured_exactly
from gptfl.training.network import Network


class Tape:
    """Listens at every module of a network that holds trained parameters, or only those whose name matches ``modules``.

    ``modules`` is a shell pattern (``*mlp*``) for the names of trained weights. Raises ``UsageError`` where none has
    such a name, and ``DataError`` where the weights are spread over several processes.
    """

    def __init__(self, network: Network, modules: str | None = None) -> None:
        if network.sharded:
            raise DataError("gradients of examples can't be computed while --shard spreads the weights", "leave it out")
        self.network = network
        named = enumerate(zip(network.names, network.trainable, strict=True))
        self.places = {id(p): place for place, (name, p) in named if modules is None or fnmatchcase(name, modules)}
        if not self.places:
            raise UsageError(
                f"{modules!r} fits no trained weight of {network.loaded.source.name}",
                f"give a pattern such as '*mlp*' for names like {network.names[0]} or {network.names[-1]}",
                option="sketch_modules",
            )
        self.modules: list[nn.Module] = [
            module
            for module in network.model.modules()
            if any(id(p) in self.places for p in module.parameters(recurse=False))
        ]

    @uninterrupted()  # autograd calls hooks back, which would swallow a Ctrl-C
    def record(self, side: Side) -> Block:
        """The gradients of each example's loss (mean over its target's tokens), by one backward pass."""
        batch = side.batch(self.network)
        layout = LayerLayout.of(side.rows, batch)
        counts = np.array([len(row.tokens) for row in side.rows])
        weights = torch.from_numpy(np.repeat(1.0 / counts, counts)).to(self.network.device)
        calls: list[Call] = []
        outputs: list[Tensor] = []
        with measured_exactly(self.network), self._listening(calls, outputs, layout), torch.enable_grad():
            log_probs = self.network.log_probs(batch)
            loss = -(log_probs * weights.to(log_probs.dtype)).sum()
            # Asking at the outputs alone spares the gradients of the weights, summed over the batch.
            slopes: list[Tensor | None] = list(torch.autograd.grad(loss, outputs, allow_unused=True))
            outputs.clear()
        held: dict[int, Held] = {}
        flat: dict[int, Tensor] = {}
        with torch.no_grad():
            slopes.reverse()
            for call in calls:
                own = [slopes.pop() for _ in range(call.outputs)]  # each is let go of as soon as it is used
                slope = own[0] if len(own) == 1 else None
                if slope is None:
                    if any(one is not None for one in own):
                        self._hold(held, recomputed(call, own, layout))
                    continue
                if call.module is self.network.head and len(slope) == 1:
                    call, slope = call.row(), slope[0]
                self._hold(held, parts_of(call, slope, layout, flat))
        return Block(len(side), held)

    def _hold(self, held: dict[int, Held], parts: Parts) -> None:
        for parameter, part in parts:
            place = self.places.get(id(parameter))
            if place is not None:
                held.setdefault(place, Held(tuple(parameter.shape))).add(part)

    @contextlib.contextmanager
    def _listening(self, calls: list[Call], outputs: list[Tensor], layout: LayerLayout) -> Iterator[None]:
        def widen(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            # Positions come once for the whole batch; each example needs its own to be told apart.
            given = args[0] if args else None
            if isinstance(given, Tensor) and given.dim() > 1 and len(given) == 1 < layout.examples:
                return (args[0].expand(layout.examples, *args[0].shape[1:]), *args[1:])
            return None

        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            changed = output
            if isinstance(output, Tensor) and module is not self.network.head:
                changed = layout.spread(output)
            elif type(output) is tuple:
                # A router's scores come of its logits: what is asked for at either must not count the way over the other.
                changed = tuple(one.view_as(one) if isinstance(one, Tensor) else one for one in output)
            found = differentiable(changed)
            calls.append(Call(module, args, kwargs, len(found)))
            outputs.extend(found)
            return changed

        handles = []
        try:
            for module in self.modules:
                if isinstance(module, nn.Embedding):
                    handles.append(module.register_forward_pre_hook(widen))
                handles.append(module.register_forward_hook(keep, with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()
