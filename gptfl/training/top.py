"""The top blocks of a decoder, trained alone on the hidden states that enter them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.forward import arguments

LISTS = ("layers", "h", "blocks", "layer", "block")
"""How decoders call the list of their blocks."""
PROBE = (2, 3)
"""Rows and tokens of what the model is tried with. They differ, so that the axes of its states can be told apart."""


class _BoundaryReached(Exception):
    """Stops a forward pass at the lowest trained block, whose input is all that was wanted."""


def find_blocks(model: Any) -> tuple[nn.Module, str] | None:
    """The module that holds the list of the decoder's blocks, and the list's name there; None if there is none."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    for start in (decoder, model.base_model):
        level = [start] if isinstance(start, nn.Module) else []
        while level:
            for name in LISTS:
                for module in level:
                    blocks = getattr(module, name, None)
                    if isinstance(blocks, nn.ModuleList) and len(blocks):
                        return module, name
            level = [child for module in level for child in module.children() if not isinstance(child, nn.ModuleList)]
    return None


def decoder_blocks(model: Any) -> nn.ModuleList:
    """The blocks of a decoder, from below; none where gptfl doesn't know where they are."""
    found = find_blocks(model)
    return nn.ModuleList() if found is None else getattr(*found)


def check_count(model: Any, count: int) -> None:
    """Raise ``DataError`` where a model has fewer than ``count`` blocks."""
    blocks = decoder_blocks(model)
    if len(blocks) and not 1 <= count <= len(blocks):
        raise DataError(f"--train-layers {count}: the model has {len(blocks)} blocks", "ask for fewer")


class Top:
    """The top ``count`` blocks of a model's decoder and the norm after them.

    Below the top, blocks are passed over and not cut off: the model goes through its whole list and finds each block's
    mask, rotary embedding and cache by the block's own place. The states that enter the lowest trained block are put in
    at its door, so that nothing that the model does to embeddings is done to them.

    Raises ``DataError`` where the model's blocks can't be taken apart.
    """

    def __init__(self, model: Any, count: int) -> None:
        self.model = model
        found = find_blocks(model)
        if found is None:
            raise self._refusal("gptfl finds no list of blocks in it")
        self.parent, self.name = found
        self.whole: nn.ModuleList = getattr(self.parent, self.name)
        self.count = count
        self.blocks = nn.ModuleList(self.whole[-count:])
        self.argument: str | None = None
        """How the blocks call the states that enter them; None where these come first."""
        self.leading = 0
        """Axes of the states that come before that of the rows."""
        self.norms: list[nn.Module] = []
        self._sizes: dict[nn.Module, int] = {}
        self._try()
        self._check_shared()
        passed = [_Passed(block, self.argument, self._sizes.get(block)) for block in self.whole[:-count]]
        self._alone = nn.ModuleList([*passed, *self.blocks])

    @property
    def trained(self) -> list[nn.Module]:
        """What is trained: the top blocks and the norm after them, where there is one."""
        return [*self.blocks, *self.norms]

    def _refusal(self, why: str) -> DataError:
        return DataError(
            f"--train-layers: the blocks of {type(self.model).__name__} can't be trained alone: {why}",
            "leave --train-layers out",
        )

    def _check_shared(self) -> None:
        lower = {id(p) for block in self.whole[: -self.count] for p in block.parameters()}
        if any(id(p) in lower for module in self.trained for p in module.parameters()):
            raise self._refusal("blocks below the top share their weights")

    def _try(self) -> None:
        """Run a few tokens through the model, to see how its blocks are called and what comes after them."""
        calls: list[nn.Module] = []

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(module)
            if module is self.blocks[0]:
                self._learn(args, kwargs)

        def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, tuple):
                self._sizes[module] = len(output)

        blocks, norms = list(self.whole), [m for m in self.parent.children() if _is_norm(m)]
        handles = [m.register_forward_pre_hook(enter, with_kwargs=True) for m in (*blocks, *norms)]
        handles += [block.register_forward_hook(leave) for block in blocks]
        device = next(self.model.parameters()).device
        try:
            with torch.no_grad():
                self.model(input_ids=torch.ones(PROBE, dtype=torch.int64, device=device), **arguments(self.model))
        finally:
            for handle in handles:
                handle.remove()
        if [module for module in calls if module in blocks] != blocks:
            raise self._refusal("they aren't run once each, one after the other")
        last = calls.index(blocks[-1])
        self.norms = [m for m in dict.fromkeys(calls[last + 1 :]) if m not in calls[:last]]

    def _learn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note in which argument, and behind which axes, the states come to the lowest trained block."""
        if not (args and _is_states(args[0])):
            self.argument = next((name for name, value in kwargs.items() if _is_states(value)), None)
            if self.argument is None:
                raise self._refusal("gptfl doesn't know what enters them")
        states = args[0] if self.argument is None else kwargs[self.argument]
        places = [axes for axes in (0, 1) if tuple(states.shape[axes : axes + 2]) == PROBE]
        if not places:
            raise self._refusal("their states aren't laid out by rows and tokens")
        self.leading = places[0]

    def states_below(self, ids: Tensor, through: nn.Module | None = None) -> Tensor:
        """What enters the lowest trained block for these token ids, in float32 and (row, token, ...).

        A sharded model has to be run ``through`` to its end, or it would be left half gathered.
        """
        caught: list[Tensor] = []

        def catch(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            caught.append(args[0] if self.argument is None else kwargs[self.argument])
            if through is None:
                raise _BoundaryReached

        handle = self.blocks[0].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with torch.no_grad(), contextlib.suppress(_BoundaryReached):
                if through is None:
                    self.model(input_ids=ids, **arguments(self.model))
                else:
                    through(ids, torch.zeros(1, dtype=torch.int64, device=ids.device))
        finally:
            handle.remove()
        states = caught[0].movedim(0, 2) if self.leading else caught[0]
        return states if states.dtype == torch.float64 else states.float()

    @contextlib.contextmanager
    def alone(self, states: Tensor) -> Iterator[None]:
        """Within, blocks below the top are passed over, and these states enter the lowest trained block."""
        entering = states.movedim(2, 0) if self.leading else states
        entered: list[nn.Module] = []

        def put_in(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            entered.append(module)
            if self.argument is None:
                return (entering, *args[1:]), kwargs
            return args, {**kwargs, self.argument: entering}

        handle = self.blocks[0].register_forward_pre_hook(put_in, with_kwargs=True)
        setattr(self.parent, self.name, self._alone)
        try:
            yield
        finally:
            setattr(self.parent, self.name, self.whole)
            handle.remove()
        if not entered:  # layerdrop
            raise self._refusal("the lowest of them was left out of a pass")


def _is_states(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 3


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm) or "Norm" in type(module).__name__


class _Passed(nn.Module):
    """Stands where a block below the top was: it has the block's attributes, and gives back what it is given."""

    def __init__(self, block: nn.Module, argument: str | None, size: int | None) -> None:
        super().__init__()
        # Kept out of the module's own parts: the block's weights have one place in the model.
        object.__setattr__(self, "_block", block)
        self._argument, self._size = argument, size

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_block"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The states, as the only or the first thing that the block returns."""
        states = args[0] if self._argument is None else kwargs[self._argument]
        return states if self._size is None else (states, *[None] * (self._size - 1))
