"""Random projections of whole gradients: vectors whose dot products estimate those of the gradients.

A count sketch adds up the numbers of a gradient, each with a random sign, in as many bins as there are dimensions.
Here whole blocks of neighbouring numbers go to neighbouring bins, from a random bin on: numbers of one block never
meet, those of two blocks meet in one bin as rarely as in a count sketch (once in ``dimensions``), and a processor
runs through them in order. The product of two sketches is unbiased, and its variance is at most
(|g|²|g'|² + (g·g')²) / ``dimensions``, whatever the gradients' rank.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.core.curriculum import run_seed
from gptfl.errors import UsageError
from gptfl.training.gradients.blocks import Weights, default_memory, pieces_within
from gptfl.training.gradients.denominators import Denominator
from gptfl.training.gradients.factored import Block, Held
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape

WRITTEN = 2**22
"""Bytes of gradients that are written out at a time: what a processor's cache holds."""
SIGNS = 2**20
"""Random signs that are drawn; every block reads its own from another place among them."""
NARROW = 256
"""Blocks of fewer numbers are added all at once: one by one, most of the time would go into asking for it."""
FEW = 8
"""So many blocks or fewer are added one by one, whatever their size."""


def sketch(
    tape: Tape,
    side: Side,
    dimensions: int,
    seed: int,
    denominator: Denominator | None = None,
    memory: int | None = None,
) -> Float[Tensor, "example dimension"]:
    """A vector of some numbers for each example's gradient over all weights that the tape listens to.

    Dot products of two sketches of one seed are right on average over seeds, for pairs of divided and plain
    gradients, too.

    Args:
        tape: listens to the layers of the network.
        side: rows of the examples.
        dimensions: numbers of a sketch.
        seed: of the projection.
        denominator: divides the gradients, weight by weight; None for plain ones.
        memory: bytes of gradients that are held at most, None for what the device has room for.

    Raises ``UsageError`` for less than one dimension.
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
    """Sketches of the plain gradients and, where there is a ``denominator``, of those divided by each power of it, in one
    pass.

    Args:
        tape: listens to the layers of the network.
        side: rows of the examples.
        dimensions: numbers of a sketch.
        seed: of the projection.
        denominator: divides the gradients, weight by weight; None for plain ones alone.
        memory: bytes of gradients that are held at most, None for what the device has room for.
        on_examples: called with how many examples have been done since the last call.
        powers: of the denominator.
    """
    requests = [ProjectionRequest(Projection(dimensions, seed, tape.network.trainable[0]), tuple(powers))]
    return sketch_each(tape, side, requests, denominator, memory, on_examples)[0]


@dataclass(frozen=True, slots=True)
class ProjectionRequest:
    """Sketches by one projection: of the plain gradients, and of those divided by each power of a denominator."""

    projection: "Projection"
    powers: tuple[float, ...] = (1.0,)

    def count(self, divided: bool) -> int:
        """How many sketches of an example that makes."""
        return 1 + (len(self.powers) if divided else 0)


def sketch_each(
    tape: Tape,
    side: Side,
    requests: Sequence[ProjectionRequest],
    denominator: Denominator | None = None,
    memory: int | None = None,
    on_examples: Callable[[int], None] = lambda examples: None,
    pieces: Sequence[Sequence[int]] | None = None,
) -> list[list[Float[Tensor, "example dimension"]]]:
    """The same by several projections, whose gradients are written out once for all.

    Args:
        tape: listens to the layers of the network.
        side: rows of the examples.
        requests: projections, each with the powers of the denominator that it is made for.
        denominator: divides the gradients, weight by weight; None for plain ones alone.
        memory: bytes of gradients that are held at most, None for what the device has room for.
        on_examples: called with how many examples have been done since the last call.
        pieces: the only ones to do, of those that all examples are cut into; what is not done is 0.
    """
    first = tape.network.trainable[0]
    memory = memory or default_memory(first.device)
    found = [
        [
            torch.zeros(len(side), one.projection.dimensions, dtype=first.dtype, device=first.device)
            for _ in range(one.count(denominator is not None))
        ]
        for one in requests
    ]
    for piece in pieces_within(side, Weights.measured(tape, side), memory) if pieces is None else pieces:
        made = project(tape.record(side.take(piece)), requests, denominator)
        for wholes, parts in zip(found, made, strict=True):
            for whole, part in zip(wholes, parts, strict=True):
                whole[list(piece)] = part
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
    block: Block, requests: Sequence[ProjectionRequest], denominator: Denominator | None
) -> list[list[Float[Tensor, "example dimension"]]]:
    """For each projection, sketches of a block's gradients: plain, and divided by its powers of a denominator.

    Gradients are written out some rows at a time, once for all. The projection of the fewest dimensions says into
    which blocks they are cut.
    """
    totals = [
        [
            one.projection.signs.new_zeros(block.count, 2 * one.projection.dimensions)
            for _ in range(one.count(denominator is not None))
        ]
        for one in requests
    ]
    powers = sorted({power for one in requests for power in one.powers})
    width = min(one.projection.dimensions for one in requests)
    for place in sorted(block.held):
        places = _Places(block.held[place], width)
        drawn = [one.projection.places(place, places.blocks) for one in requests]
        for rows, cuts, values in places.written(block.count):
            divided = {}
            if denominator is not None:
                divisors = denominator(place, rows, values)
                divided = {power: values * divisors.pow(-power) for power in powers}
            for one, random, sums in zip(requests, drawn, totals, strict=True):
                # The sums of the plain gradients come first.
                each = [values, *(divided[power] for power in one.powers)] if divided else [values]
                # Where several threads add at once, the order of a sum isn't known, so other devices add block by block.
                at_once = places.size < NARROW and len(cuts) > FEW and values.device.type == "cpu"
                add = _add_at_once if at_once else _add_blocks
                add(sums, each, cuts, random, one.projection.signs)
    # Bins past the last are the first ones again.
    return [
        [total[:, : one.projection.dimensions] + total[:, one.projection.dimensions :] for total in sums]
        for one, sums in zip(requests, totals, strict=True)
    ]


def _add_blocks(
    sums: Sequence[Tensor],
    values: Sequence[Tensor],
    cuts: Sequence[tuple[int, int, int]],
    random: Sequence[tuple[int, int, int]],
    signs: Tensor,
) -> None:
    """Add numbers of each example to their bins in the sums, each sum's own, block by block."""
    for begin, end, number in cuts:
        first, table, flip = random[number]
        turns = signs[table : table + end - begin]
        for total, each in zip(sums, values, strict=True):
            total[:, first : first + end - begin].addcmul_(each[:, begin:end], turns, value=flip)


def _add_at_once(
    sums: Sequence[Tensor],
    values: Sequence[Tensor],
    cuts: Sequence[tuple[int, int, int]],
    random: Sequence[tuple[int, int, int]],
    signs: Tensor,
) -> None:
    """The same, of all blocks in one pass; every bin's numbers are added in the same order."""
    lengths = torch.tensor([end - begin for begin, end, _ in cuts])
    drawn = torch.tensor([random[number] for _, _, number in cuts]).repeat_interleave(lengths, dim=0)
    begins = torch.tensor([begin for begin, _, _ in cuts]).repeat_interleave(lengths)
    within = torch.arange(len(begins)) - begins
    bins = (drawn[:, 0] + within).expand(len(values[0]), -1)
    turns = signs[drawn[:, 1] + within] * drawn[:, 2]
    for total, each in zip(sums, values, strict=True):
        total.scatter_add_(1, bins, each * turns)


class _Places:
    """The blocks of at most ``width`` numbers that a parameter's gradients are cut into.

    Blocks are whole rows, or parts of one where a row has more numbers than that, so that they don't depend on how
    many rows are written at a time.
    """

    def __init__(self, held: Held, width: int) -> None:
        self.held = held
        self.columns = held.shape[1] if held.outers else math.prod(held.shape)
        self.group = max(1, width // self.columns)
        self.size = min(self.columns * self.group, width)
        self.parts = -(-self.columns // self.size) if self.group == 1 else 1
        self.blocks = -(-held.rows // self.group) * self.parts

    def written(self, count: int) -> Iterator[tuple[slice, list[tuple[int, int, int]], Tensor]]:
        """Some rows at a time: which, the blocks in them (from, to, number), and the numbers of each example."""
        held, columns, group = self.held, self.columns, self.group
        write = held.writer(count)
        for first, last in _spans(held, group, max(1, WRITTEN // (4 * count * columns * group))):
            cuts = []
            for row in range(first, last, group):
                begin, end = (row - first) * columns, (min(row + group, last) - first) * columns
                for part in range(self.parts):
                    start = begin + part * self.size
                    cuts.append((start, min(start + self.size, end), row // group * self.parts + part))
            yield slice(first, last) if held.outers else slice(None), cuts, write(first, last)


def _spans(held: Held, group: int, groups: int) -> Iterator[tuple[int, int]]:
    """Rows to write out at a time, at most ``groups`` whole groups; of an embedding only groups that were looked up."""
    rows = held.rows
    if held.outers and held.whole is None and all(outer.one_hot for outer in held.outers):
        touched = {row // group for outer in held.outers for row in outer.left.tolist()}
        yield from ((one * group, min((one + 1) * group, rows)) for one in sorted(touched))
        return
    for first in range(0, rows, groups * group):
        yield first, min(first + groups * group, rows)
