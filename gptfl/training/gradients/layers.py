"""What each kind of layer makes of its input and of the loss's gradient at its output: its parameters' gradients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from gptfl.errors import DataError
from gptfl.training.encoding import TokenRow
from gptfl.training.gradients.held import Outer, owners_of
from gptfl.training.network import Batch

SPARSE = 0.75
"""Where fewer than this share of a layer's tokens matter to the losses (a last block's), the others are dropped."""


class InseparableError(DataError):
    """The gradients of single examples can't be told in a model; who asked for them knows what else there is."""

    def __init__(self, why: str) -> None:
        super().__init__(f"gradients of single examples can't be told apart: {why}", "choose another model")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module in a forward pass; ``shape`` is its output's."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]

    @property
    def input(self) -> Tensor:
        """The first thing the module was given."""
        given: Tensor = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return given

    def row(self) -> "Call":
        """A call on one row as one on its tokens: so the output layer sees the asked tokens of all examples."""
        return replace(self, args=(self.args[0][0], *self.args[1:]), shape=self.shape[1:])


@dataclass(frozen=True, slots=True)
class Layout:
    """Which places of a padded batch belong to which example.

    ``kept`` are the flat places that are no padding, None if there is none; ``lengths`` and ``asked`` count each
    example's tokens, and those of them that a log-probability is asked at.
    """

    width: int
    lengths: tuple[int, ...]
    asked: tuple[int, ...]
    kept: Tensor | None

    @classmethod
    def of(cls, rows: Sequence[TokenRow], batch: Batch) -> "Layout":
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
        if leading == (sum(self.asked),):
            return values, self.asked
        if leading == (self.examples * self.width,):
            return self._unpadded(values)
        raise InseparableError(f"a layer takes values of shape {tuple(values.shape)}")

    def _unpadded(self, flat: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        return (flat if self.kept is None else flat[self.kept]), self.lengths

    def sums(self, values: Tensor) -> Tensor:
        """Each example's sum over its tokens, (example, width), of values whose last axis is the width."""
        flat, counts = self.tokens(values, 1)
        total = flat.new_zeros(self.examples, flat.shape[1])
        return total.index_add_(0, owners_of(counts, flat.device), flat)


Parts = Iterator[tuple[nn.Parameter, Outer | Tensor]]


def parts_of(call: Call, slope: Tensor, layout: Layout, flat: dict[int, Tensor]) -> Parts:
    """The gradients of a module's own parameters by example, given the losses' gradient at its output.

    ``flat`` keeps the unpadded inputs of one forward pass, so that layers with one input share them.
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
        yield from _any(call, slope, layout)


def _linear(call: Call, slope: Tensor, layout: Layout, flat: dict[int, Tensor]) -> Parts:
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


def _embedding(call: Call, slope: Tensor, layout: Layout) -> Parts:
    module: Any = call.module
    right, counts = layout.tokens(slope, 1)
    ids, _ = layout.tokens(call.input, 0)
    if module.padding_idx is not None:  # its row is never trained
        used = ids != module.padding_idx
        owners = owners_of(counts, ids.device)[used]
        counts = tuple(torch.bincount(owners, minlength=layout.examples).tolist())
        ids, right = ids[used], right[used]
    yield module.weight, Outer(ids, right, counts)


def _layer_norm(call: Call, slope: Tensor, layout: Layout) -> Parts:
    module: Any = call.module
    if module.weight is not None:
        normal = nn.functional.layer_norm(call.input.detach(), module.normalized_shape, None, None, module.eps)
        yield module.weight, layout.sums(slope * normal)
    if module.bias is not None:
        yield module.bias, layout.sums(slope)


def _has_only_a_scale(module: nn.Module) -> bool:
    own = dict(module.named_parameters())
    return list(own) == ["weight"] and own["weight"].dim() == 1


def _rms_norm(call: Call, slope: Tensor, layout: Layout) -> Parts:
    """A scale of its own for every token, as many numbers as there are outputs, tells the tokens' gradients apart."""
    module: Any = call.module
    if type(module).forward is nn.RMSNorm.forward:
        normal = nn.functional.rms_norm(call.input.detach(), module.normalized_shape, None, module.eps)
        yield module.weight, layout.sums(slope * normal)
        return
    scales = module.weight.detach().expand_as(slope).clone().requires_grad_()
    with torch.enable_grad():
        output = functional_call(module, {"weight": scales}, (call.input.detach(),))
        (found,) = torch.autograd.grad(output, scales, slope)
    yield module.weight, layout.sums(found)


def _any(call: Call, slope: Tensor, layout: Layout) -> Parts:
    """Any other module: computed again for one example after the other."""
    module = call.module
    own = [p for p in module.parameters(recurse=False) if p.requires_grad]
    if call.shape[0] != layout.examples or not isinstance(call.input, Tensor):
        raise InseparableError(f"the output of {type(module).__name__} has shape {call.shape}")
    found: list[list[Tensor]] = [[] for _ in own]
    for example in range(layout.examples):

        def one(value: Any, example: int = example) -> Any:
            by_example = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == layout.examples
            value = value[example : example + 1] if by_example else value
            return value.detach() if isinstance(value, Tensor) else value

        with torch.enable_grad():
            output = module(*map(one, call.args), **{name: one(value) for name, value in call.kwargs.items()})
            gradients = torch.autograd.grad(output, own, slope[example : example + 1], allow_unused=True)
        for column, parameter, gradient in zip(found, own, gradients, strict=True):
            column.append((torch.zeros_like(parameter) if gradient is None else gradient).flatten())
    for parameter, column in zip(own, found, strict=True):
        yield parameter, torch.stack(column)
