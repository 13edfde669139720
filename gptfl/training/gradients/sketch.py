"""Random projections of whole gradients: vectors whose dot products estimate those of the gradients.

A count sketch adds up the numbers of a gradient, each with a random sign, in as many bins as there are dimensions.
Here whole blocks of neighbouring numbers go to neighbouring bins, from a random bin on: numbers of one block never
meet, those of two blocks meet in one bin as rarely as in a count sketch (once in ``dimensions``), and a processor
runs through them in order. The product of two sketches is unbiased, and its variance is at most
(|g|²|g'|² + (g·g')²) / ``dimensions``, whatever the gradients' rank.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.curricula import run_seed
from gptfl.errors import UsageError
from gptfl.training.gradients.blocks import Weights, default_memory, pieces_within
from gptfl.training.gradients.held import Block, Held
from gptfl.training.gradients.products import Denominator
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape

WRITTEN = 2**22
"""Bytes of gradients that are written out at a time: what a processor's cache holds."""
SIGNS = 2**20
"""Random signs that are drawn; every block reads its own from another place among them."""


def sketch(
    tape: Tape,
    side: Side,
    dimensions: int,
    seed: int,
    denominator: Denominator | None = None,
    memory: int | None = None,
) -> Float[Tensor, "example dimension"]:
    """A vector of ``dimensions`` numbers for each example's gradient over all weights that the tape listens to.

    Dot products of two sketches of one seed are right on average over seeds, for pairs of divided and plain
    gradients, too. Raises ``UsageError`` for less than one dimension.
    """
    return sketches(tape, side, dimensions, seed, denominator, memory)[-1]


def sketches(
    tape: Tape,
    side: Side,
    dimensions: int,
    seed: int,
    denominator: Denominator | None = None,
    memory: int | None = None,
    on_examples: Callable[[int], None] = lambda examples: None,
    powers: Sequence[float] = (1.0,),
) -> list[Float[Tensor, "example dimension"]]:
    """Sketches of the plain gradients and, where there is a ``denominator``, of those divided by each power of it.

    All are made in one pass. At most ``memory`` bytes of gradients are held; ``on_examples`` is told of examples that are done.
    """
    first = tape.network.trainable[0]
    projection = Projection(dimensions, seed, first)
    memory = memory or default_memory(first.device)
    count = 1 if denominator is None else 1 + len(powers)
    found = [torch.zeros(len(side), dimensions, dtype=first.dtype, device=first.device) for _ in range(count)]
    for piece in pieces_within(side, Weights.measured(tape, side), memory):
        made = project(tape.record(side.take(piece)), projection, denominator, powers)
        for whole, part in zip(found, made, strict=True):
            whole[piece] = part
        on_examples(len(piece))
    return found


class Projection:
    """The random numbers of a sketch, each parameter's its own: the same for every example, on every device."""

    def __init__(self, dimensions: int, seed: int, like: Tensor) -> None:
        if dimensions < 1:
            raise UsageError(f"a sketch of {dimensions} dimensions holds nothing", "ask for at least 1")
        self.dimensions = dimensions
        self.seed = seed
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randint(0, 2, (SIGNS + dimensions,), generator=random, dtype=torch.int8)
        self.signs = drawn.to(like.device, like.dtype).mul_(2).sub_(1)

    def places(self, parameter: int, blocks: int) -> list[tuple[int, int, int]]:
        """For each block of a parameter its first bin, where its signs begin, and one more sign for all of it.

        The last makes different blocks independent even where they read the same signs.
        """
        random = torch.Generator().manual_seed(run_seed(self.seed, parameter))
        limits = (self.dimensions, SIGNS, 2)
        first, begin, flip = (torch.randint(0, limit, (blocks,), generator=random).tolist() for limit in limits)
        return [(one, other, 2 * sign - 1) for one, other, sign in zip(first, begin, flip, strict=True)]


def project(
    block: Block, projection: Projection, denominator: Denominator | None, powers: Sequence[float] = (1.0,)
) -> list[Float[Tensor, "example dimension"]]:
    """Sketches of a block's gradients, plain and (where there is a denominator) divided by its powers.

    Gradients are written out some rows at a time, once for all.
    """
    dimensions, signs = projection.dimensions, projection.signs
    plain = signs.new_zeros(block.count, 2 * dimensions)
    divided = [] if denominator is None else [torch.zeros_like(plain) for _ in powers]
    for place in sorted(block.held):
        for rows, cuts, values in _written(block.held[place], block.count, projection, place):
            inverses = [] if denominator is None else [denominator(place, rows).pow(-power) for power in powers]
            for begin, end, (first, table, flip) in cuts:
                some, wanted = values[:, begin:end], signs[table : table + end - begin]
                bins = slice(first, first + end - begin)
                plain[:, bins].addcmul_(some, wanted, value=flip)
                for total, inverse in zip(divided, inverses, strict=True):
                    total[:, bins].addcmul_(some, wanted * inverse[begin:end], value=flip)
    # Bins past the last are the first ones again.
    return [total[:, :dimensions] + total[:, dimensions:] for total in (plain, *divided)]


Cuts = list[tuple[int, int, tuple[int, int, int]]]


def _written(held: Held, count: int, projection: Projection, place: int) -> Iterator[tuple[slice, Cuts, Tensor]]:
    """A parameter's gradients some rows at a time, with the blocks that they are cut into.

    Blocks are whole rows, or parts of one where a row has more numbers than there are dimensions, so that they
    don't depend on how many rows are written at a time.
    """
    rows = held.rows
    columns = held.shape[1] if held.outers else math.prod(held.shape)
    group = max(1, projection.dimensions // columns)
    size = min(columns * group, projection.dimensions)
    parts = -(-columns // size) if group == 1 else 1
    places = projection.places(place, -(-rows // group) * parts)
    write = held.writer(count)
    for first, last in _spans(held, group, max(1, WRITTEN // (4 * count * columns * group))):
        ends = []
        for row in range(first, last, group):
            begin, end = (row - first) * columns, (min(row + group, last) - first) * columns
            for part in range(parts):
                start = begin + part * size
                ends.append((start, min(start + size, end), places[row // group * parts + part]))
        yield slice(first, last) if held.outers else slice(None), ends, write(first, last)


def _spans(held: Held, group: int, groups: int) -> Iterator[tuple[int, int]]:
    """Rows to write out at a time, at most ``groups`` whole groups; of an embedding only groups that were looked up."""
    rows = held.rows
    if held.outers and held.whole is None and all(outer.one_hot for outer in held.outers):
        touched = {row // group for outer in held.outers for row in outer.left.tolist()}
        yield from ((one * group, min((one + 1) * group, rows)) for one in sorted(touched))
        return
    for first in range(0, rows, groups * group):
        yield first, min(first + groups * group, rows)
