"""Random projections of whole gradients: vectors whose dot products estimate those of the gradients."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.curricula import run_seed
from gptfl.errors import UsageError
from gptfl.training.gradients.blocks import Arrangement, Weights, default_memory
from gptfl.training.gradients.held import Block, Held, Outer, outer_writer
from gptfl.training.gradients.products import CACHE, Denominator
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape


def sketch(
    tape: Tape,
    side: Side,
    dimensions: int,
    seed: int,
    denominator: Denominator | None = None,
    memory: int | None = None,
) -> Float[Tensor, "example dimension"]:
    """A vector of ``dimensions`` numbers for each example's gradient over all trained weights.

    Dot products of two sketches of one seed are right on average over seeds, for pairs of divided and plain
    gradients, too. Their spread is about a gradient's length times the other's, by the root of ``dimensions``, and
    somewhat more for the few tokens of short examples. Raises ``UsageError`` for less than one dimension.
    """
    if dimensions < 1:
        raise UsageError(f"a sketch of {dimensions} dimensions holds nothing", "ask for at least 1")
    memory = memory or default_memory(tape.network.device)
    arrangement = Arrangement.fit(side, side, Weights.measured(tape, side), memory, divided=denominator is not None)
    first = tape.network.trainable[0]
    found = torch.zeros(len(side), dimensions, dtype=first.dtype, device=first.device)
    signs = Signs(dimensions, seed, first)
    for pieces in arrangement.pools:
        for piece in pieces:
            found[list(piece)] = project(tape.record(side.take(piece)), signs, denominator)
    return found


def _split(dimensions: int) -> tuple[int, int]:
    """Two factors of a number, as near to each other as there are."""
    small = next(k for k in range(math.isqrt(dimensions), 0, -1) if dimensions % k == 0)
    return small, dimensions // small


class Signs:
    """The random numbers of a sketch, each parameter's its own: the same for every example."""

    def __init__(self, dimensions: int, seed: int, like: Tensor) -> None:
        self.dimensions = dimensions
        self.sides = _split(dimensions)
        self.seed = seed
        self.like = like
        self._known: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}

    def _random(self, place: int) -> torch.Generator:
        return torch.Generator().manual_seed(run_seed(self.seed, place))

    def matrices(self, place: int, held: Held) -> tuple[Tensor, Tensor]:
        """(row, k) and (column, k') signs, scaled so that they keep lengths on average."""
        key = (place, "matrices")
        if key not in self._known:
            random = self._random(place)
            pair = [
                ((torch.rand(size, k, generator=random) < 0.5).to(self.like.dtype) * 2 - 1).to(self.like.device)
                / math.sqrt(k)
                for size, k in zip(held.shape, self.sides, strict=True)
            ]
            self._known[key] = (pair[0], pair[1])
        return self._known[key]

    def buckets(self, place: int, held: Held) -> tuple[Tensor, Tensor]:
        """For every number of a parameter the dimension that it goes to, and its sign there (a count sketch)."""
        key = (place, "buckets")
        if key not in self._known:
            random = self._random(place)
            size = (math.prod(held.shape),)
            signs = torch.randint(0, 2, size, generator=random) * 2 - 1
            into = torch.randint(0, self.dimensions, size, generator=random)
            self._known[key] = (into.to(self.like.device), signs.to(self.like.device, self.like.dtype))
        return self._known[key]


def project(block: Block, signs: Signs, denominator: Denominator | None) -> Float[Tensor, "example dimension"]:
    """Sketches of a block's gradients: for a matrix G of signs S, S', that of G is SᵀGS'; others are hashed."""
    total = torch.zeros(block.count, signs.dimensions, dtype=signs.like.dtype, device=signs.like.device)
    for place in sorted(block.held):
        held = block.held[place]
        if not held.outers or held.whole is not None:
            into, flips = signs.buckets(place, held)
            values = held.dense(block.count) * flips
            if denominator is not None:
                values = values / denominator(place, slice(None))
            total.index_add_(1, into, values)
        elif denominator is None:
            total += _projected(held, block.count, *signs.matrices(place, held)).flatten(1)
        else:
            total += _divided(held, block.count, *signs.matrices(place, held), denominator, place).flatten(1)
    return total


def _projected(held: Held, count: int, rows: Tensor, columns: Tensor) -> Tensor:
    """The factors are projected, and only then multiplied."""
    total = rows.new_zeros(count, rows.shape[1], columns.shape[1])
    for outer in held.outers:
        left = rows[outer.left] if outer.one_hot else outer.left @ rows
        total += outer_writer(Outer(left, outer.right @ columns, outer.counts), count)(0, rows.shape[1])
    return total


def _divided(held: Held, count: int, rows: Tensor, columns: Tensor, denominator: Denominator, place: int) -> Tensor:
    """Gradients have to be written out to be divided, some rows at a time."""
    total = rows.new_zeros(count, rows.shape[1], columns.shape[1])
    write = held.writer(count)
    step = max(1, CACHE // (4 * count * held.shape[1]))
    for first in range(0, held.rows, step):
        last = min(first + step, held.rows)
        written = write(first, last) / denominator(place, slice(first, last))
        narrow = written.view(count, last - first, -1) @ columns
        total += torch.einsum("rk,erc->ekc", rows[first:last], narrow)
    return total
