"""The gradients of a block of examples, parameter by parameter, in the factors they come in.

A matrix's gradient for one example is a sum of outer products, one for each token that went through the layer:
of the layer's input and the loss's gradient at its output. The factors take far less room than the product.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

RECENT = 6
"""Joined factors that are remembered; parameters with a common layer input lie no further apart."""


@dataclass(frozen=True, slots=True)
class Outer:
    """One use of a matrix: example e's gradient is the sum, over its tokens s, of ``left[s]`` ⊗ ``right[s]``.

    ``left`` is (token, row), or (token,) whole numbers where each stands for a one-hot row (embeddings);
    ``right`` is (token, column). Tokens lie in order of examples, ``counts[e]`` for each.
    """

    left: Tensor
    right: Tensor
    counts: tuple[int, ...]

    @property
    def one_hot(self) -> bool:
        """Whether ``left`` says which row is 1."""
        return self.left.dim() == 1

    def owners(self) -> Tensor:
        """The example of each token."""
        return owners_of(self.counts, self.right.device)

    def spans(self) -> list[tuple[int, int]]:
        """Where each example's tokens begin and end."""
        spans, end = [], 0
        for count in self.counts:
            spans.append((end, end + count))
            end += count
        return spans


def owners_of(counts: Sequence[int], device: torch.device) -> Tensor:
    """The example that each token belongs to, from the tokens of each example."""
    return torch.repeat_interleave(torch.arange(len(counts), device=device), torch.tensor(counts, device=device))


@dataclass(slots=True)
class Held:
    """One parameter's gradients for the examples of a block: the sum of all its uses.

    ``whole`` is (example, numbers of the parameter), for what doesn't come as outer products.
    """

    shape: tuple[int, ...]
    outers: list[Outer] = field(default_factory=list)
    whole: Tensor | None = None

    @property
    def rows(self) -> int:
        """Rows that the parameter is taken to have; what is no matrix has one."""
        return self.shape[0] if self.outers else 1

    def add(self, part: Outer | Tensor) -> None:
        """Count in one more use of the parameter."""
        if isinstance(part, Outer):
            self.outers.append(part)
        else:
            self.whole = part if self.whole is None else self.whole + part

    def writer(self, count: int) -> Callable[[int, int], Float[Tensor, "example number"]]:
        """Writes the gradients of ``count`` examples out: ``write(first, last)`` gives rows ``first`` to ``last``."""
        whole = self.whole
        if not self.outers:
            assert whole is not None
            return lambda first, last: whole
        columns = self.shape[1]
        writers = [outer_writer(outer, count) for outer in self.outers]

        def write(first: int, last: int) -> Tensor:
            written = writers[0](first, last)
            for more in writers[1:]:
                written = written + more(first, last)
            flat = written.flatten(1)
            return flat if whole is None else flat + whole[:, first * columns : last * columns]

        return write

    def dense(self, count: int) -> Float[Tensor, "example number"]:
        """The gradients of ``count`` examples, written out whole."""
        return self.writer(count)(0, self.rows)


def outer_writer(outer: Outer, count: int) -> Callable[[int, int], Float[Tensor, "example row column"]]:
    right = outer.right
    if outer.one_hot:
        owners = outer.owners()

        def scatter(first: int, last: int) -> Tensor:
            inside = (outer.left >= first) & (outer.left < last)
            places = owners[inside] * (last - first) + outer.left[inside] - first
            written = right.new_zeros(count * (last - first), right.shape[1])
            return written.index_add_(0, places, right[inside]).view(count, last - first, -1)

        return scatter
    lefts, rights = _padded(outer.left, outer.counts), _padded(right, outer.counts)
    return lambda first, last: torch.bmm(lefts[:, :, first:last].transpose(1, 2), rights)


def _padded(factor: Tensor, counts: Sequence[int]) -> Float[Tensor, "example token width"]:
    """A factor's tokens by example, with zeros behind those of shorter examples."""
    return nn.utils.rnn.pad_sequence(list(torch.split(factor, list(counts))), batch_first=True)


@dataclass(frozen=True, slots=True)
class Block:
    """The gradients of ``count`` examples: what is held of each trained parameter, by its place among them.

    A parameter on which no example's loss depends is absent.
    """

    count: int
    held: dict[int, Held]

    @property
    def bytes(self) -> int:
        """Room that the factors take; those that several parameters share count once."""
        seen: dict[int, int] = {}
        for held in self.held.values():
            for tensor in (held.whole, *(x for outer in held.outers for x in (outer.left, outer.right))):
                if tensor is not None:
                    seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return sum(seen.values())


def join(blocks: Sequence[Block]) -> Block:
    """One block of the examples of several, in order; theirs are used up."""
    if len(blocks) == 1:
        return blocks[0]
    # A layer input that several parameters share stays shared; these come one after the other.
    recent: deque[tuple[list[Tensor], Tensor]] = deque(maxlen=RECENT)

    def cat(parts: list[Tensor]) -> Tensor:
        for known, made in recent:
            if all(one is other for one, other in zip(known, parts, strict=True)):
                return made
        recent.append((parts, torch.cat(parts)))
        return recent[-1][1]

    joined = {}
    for place in sorted(set().union(*(block.held for block in blocks))):
        parts = [block.held.pop(place) for block in blocks]
        uses = zip(*(part.outers for part in parts), strict=True)
        outers = [
            Outer(
                cat([use.left for use in one]),
                cat([use.right for use in one]),
                tuple(count for use in one for count in use.counts),
            )
            for one in uses
        ]
        wholes = [part.whole for part in parts if part.whole is not None]
        joined[place] = Held(parts[0].shape, outers, torch.cat(wholes) if wholes else None)
    return Block(sum(block.count for block in blocks), joined)
