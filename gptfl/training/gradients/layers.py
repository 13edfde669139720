"""What each kind of layer makes of its input and of the loss's gradient at its output: its parameters' gradients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from gptfl.errors import DataError
from gptfl.training.gradients.factored import Outer, owners_of
from gptfl.training.network import Batch
from gptfl.training.token_rows import TokenRow

SPARSE = 0.75
"""Where fewer than this share of a layer's tokens matter to the losses (a last block's), the others are dropped."""


class InseparableError(DataError):
    """The gradients of single examples can't be told in a model; who asked for them knows what else there is."""

    def __init__(self, why: str) -> None:
        super().__init__(f"gradients of single examples can't be told apart: {why}", "choose another model")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module in a forward pass, with how many of its ``outputs`` depend on weights."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: int = 1

    @property
    def input(self) -> Tensor:
        """The first thing the module was given."""
        given: Tensor = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return given

    def row(self) -> "Call":
        """A call on one row as one on its tokens: so the output layer sees the asked tokens of all examples."""
        return replace(self, args=(self.args[0][0], *self.args[1:]))


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """Which places of a padded batch belong to which example.

    ``kept`` are the flat places that are no padding, None if there is none; ``lengths`` and ``targets`` count each
    example's tokens, and those of them that a log-probability is asked at.
    """

    width: int
    lengths: tuple[int, ...]
    targets: tuple[int, ...]
    kept: Tensor | None

    @classmethod
    def of(cls, rows: Sequence[TokenRow], batch: Batch) -> "LayerLayout":
        """The layout of these rows as a batch."""
        lengths = tuple(len(row.input_ids) for row in rows)
        width = max(lengths)
        device = batch.inputs.device
        places = torch.arange(width, device=device) < torch.tensor(lengths, device=device)[:, None]
        kept = None if min(lengths) == width else places.flatten().nonzero()[:, 0]
        return cls(width, lengths, tuple(len(row.positions) for row in rows), kept)

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(self.lengths)

    def tokens(self, values: Tensor, trailing: int) -> tuple[Tensor, tuple[int, ...]]:
        """Values without padding as (token, ...), and the tokens of each example.

        ``trailing`` is the number of axes that belong to a token. Raises ``DataError`` where the values are
        not laid out by examples.
        """
        leading = tuple(values.shape[: values.dim() - trailing])
        rest = values.shape[values.dim() - trailing :]
        if leading[:1] == (self.examples,) and len(leading) > 1:
            flat = values.reshape(-1, *rest)
            if leading == (self.examples, self.width):
                return self._unpadded(flat)
            return flat, (len(flat) // self.examples,) * self.examples
        if leading == (sum(self.targets),):
            return values, self.targets
        if leading == (self.examples * self.width,):
            return self._unpadded(values)
        if len(leading) == 1 and leading[0] and leading[0] % (self.examples * self.width) == 0:  # heads of their own
            return values, (leading[0] // self.examples,) * self.examples
        raise InseparableError(f"a layer takes values of shape {tuple(values.shape)}")

    def _unpadded(self, flat: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        return (flat if self.kept is None else flat[self.kept]), self.lengths

    def spread(self, output: Tensor) -> Tensor:
        """What a module returned once for all examples (positions), for each of them, so that they can be told apart."""
        if self.examples == 1:
            return output
        if output.dim() == 2 and len(output) == self.width:
            return output.expand(self.examples, *output.shape)
        if output.dim() > 2 and output.shape[:2] == (1, self.width):
            return output.expand(self.examples, *output.shape[1:])
        return output

    def of_example(self, value: Any, example: int) -> Any:
        """The part of a module's inputs, or of gradients at its outputs, that belongs to one example, detached.

        What has neither an example nor all tokens on its first axis belongs to every example.
        """
        if isinstance(value, dict):
            return {name: self.of_example(one, example) for name, one in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self.of_example(one, example) for one in value)
        if not isinstance(value, Tensor):
            return value
        if value.dim() and len(value) == self.examples:
            return value[example : example + 1].detach()
        if value.dim() and len(value) == self.examples * self.width:
            return value[example * self.width : (example + 1) * self.width].detach()
        return value.detach()

    def sums(self, values: Tensor) -> Tensor:
        """Each example's sum over its tokens, (example, width), of values whose last axis is the width."""
        flat, counts = self.tokens(values, 1)
        total = flat.new_zeros(self.examples, flat.shape[1])
        return total.index_add_(0, owners_of(counts, flat.device), flat)


Parts = Iterator[tuple[nn.Parameter, Outer | Tensor]]


def parts_of(call: Call, slope: Tensor, layout: LayerLayout, flat: dict[int, Tensor]) -> Parts:
    """The gradients of a module's own parameters by example, given the losses' gradient at its output.

    Args:
        call: the module and what it took in.
        slope: the gradient at its output.
        layout: which rows and tokens belong to which example.
        flat: keeps the unpadded inputs of one forward pass, so that layers with one input share them.
    """
    module = call.module
    forward = type(module).forward
    if forward in (nn.Linear.forward, Conv1D.forward):
        yield from _linear(call, slope, layout, flat)
    elif forward is nn.Embedding.forward and not module.scale_grad_by_freq and module.max_norm is None:
        yield from _embedding(call, slope, layout)
    elif forward is nn.LayerNorm.forward and len(module.normalized_shape) == 1:  # type: ignore[arg-type]
        yield from _layer_norm(call, slope, layout)
    elif "RMSNorm" in type(module).__name__ and _has_only_a_scale(module):
        yield from _rms_norm(call, slope, layout)
    else:
        yield from recomputed(call, [slope], layout)


def _linear(call: Call, slope: Tensor, layout: LayerLayout, flat: dict[int, Tensor]) -> Parts:
    module: Any = call.module
    right, counts = layout.tokens(slope, 1)
    if id(call.input) not in flat:
        flat[id(call.input)] = layout.tokens(call.input.detach().to(slope.dtype), 1)[0]
    inputs = flat[id(call.input)]
    some = right[:, 0].ne(0)
    used = some if int(some.sum()) >= SPARSE * len(right) else right.ne(0).any(dim=1)
    if int(used.sum()) < SPARSE * len(right):
        owners = owners_of(counts, right.device)[used]
        counts = tuple(torch.bincount(owners, minlength=layout.examples).tolist())
        right, inputs = right[used], inputs[used]
    if isinstance(module, Conv1D):
        yield module.weight, Outer(inputs, right, counts)
    else:
        yield module.weight, Outer(right, inputs, counts)
    if module.bias is not None:
        yield module.bias, layout.sums(slope)


def _embedding(call: Call, slope: Tensor, layout: LayerLayout) -> Parts:
    module: Any = call.module
    right, counts = layout.tokens(slope, 1)
    ids, _ = layout.tokens(call.input, 0)
    if module.padding_idx is not None:  # its row is never trained
        used = ids != module.padding_idx
        owners = owners_of(counts, ids.device)[used]
        counts = tuple(torch.bincount(owners, minlength=layout.examples).tolist())
        ids, right = ids[used], right[used]
    yield module.weight, Outer(ids, right, counts)


def _layer_norm(call: Call, slope: Tensor, layout: LayerLayout) -> Parts:
    module: Any = call.module
    if module.weight is not None:
        normal = nn.functional.layer_norm(call.input.detach(), module.normalized_shape, None, None, module.eps)
        yield module.weight, layout.sums(slope * normal)
    if module.bias is not None:
        yield module.bias, layout.sums(slope)


def _has_only_a_scale(module: nn.Module) -> bool:
    own = dict(module.named_parameters())
    return list(own) == ["weight"] and own["weight"].dim() == 1


def _rms_norm(call: Call, slope: Tensor, layout: LayerLayout) -> Parts:
    """A scale of its own for every token, as many numbers as there are outputs, tells the tokens' gradients apart."""
    module: Any = call.module
    if type(module).forward is nn.RMSNorm.forward:
        normal = nn.functional.rms_norm(call.input.detach(), module.normalized_shape, None, module.eps)
        yield module.weight, layout.sums(slope * normal)
        return
    scales = module.weight.detach().expand_as(slope).clone().requires_grad_()
    with torch.enable_grad():
        rest = [value.detach() if isinstance(value, Tensor) else value for value in call.args[1:]]  # a gate
        named = {name: value.detach() if isinstance(value, Tensor) else value for name, value in call.kwargs.items()}
        given = (call.input.detach(), *rest) if call.args else ()
        output = functional_call(module, {"weight": scales}, given, named)
        (found,) = torch.autograd.grad(output, scales, slope)
    yield module.weight, layout.sums(found)


def differentiable(output: Any) -> list[Tensor]:
    """Those tensors among what a module returned that depend on weights, in order."""
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else [output]
    )
    return [value for value in values if isinstance(value, Tensor) and value.requires_grad]


def recomputed(call: Call, slopes: Sequence[Tensor | None], layout: LayerLayout) -> Parts:
    """Gradients of any module's own parameters: computed again for one example after the other.

    ``slopes`` are the losses' gradients at all that the module returned, None where they don't depend on it.
    """
    module = call.module
    own = [p for p in module.parameters(recurse=False) if p.requires_grad]
    found: list[list[Tensor]] = [[] for _ in own]
    for example in range(layout.examples):
        with torch.enable_grad():
            args, kwargs = layout.of_example(call.args, example), layout.of_example(call.kwargs, example)
            outputs = differentiable(module(*args, **kwargs))
        pairs = []
        for output, slope in zip(outputs, slopes, strict=True):
            if slope is None:
                continue
            mine = layout.of_example(slope, example)
            if mine.numel() != output.numel():
                kind = type(module).__name__
                raise InseparableError(f"the output of {kind} has shape {tuple(slope.shape)}")
            pairs.append((output, mine.reshape(output.shape)))
        at, along = ([pair[side] for pair in pairs] for side in (0, 1))
        gradients = torch.autograd.grad(at, own, along, allow_unused=True)
        for column, parameter, gradient in zip(found, own, gradients, strict=True):
            column.append((torch.zeros_like(parameter) if gradient is None else gradient).flatten())
    for parameter, column in zip(own, found, strict=True):
        yield parameter, torch.stack(column)
