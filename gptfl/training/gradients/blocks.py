"""Which examples are held at once, so that the products of all pool with all test examples fit into the memory allowed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from gptfl.training.gradients.denominators import Denominator
from gptfl.training.gradients.factored import Block, join
from gptfl.training.gradients.products import Products, multiply
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape

CPU_MEMORY = 3 * 2**29
GPU_SHARE = 0.5
"""Of a GPU's free memory, what gradients may take unless given."""
GRAPH_SHARE, WRITTEN_SHARE = 0.25, 0.05
"""Of the memory allowed, what a backward pass and gradients written out may take; factors take the rest."""
GRAPH = 3.0
"""What a backward pass keeps, in multiples of the factors that come of it."""


def default_memory(device: torch.device) -> int:
    """Bytes that gradients may take: 1.5 GiB on a CPU, half of what is free on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    return CPU_MEMORY


MIN_SHARE = 0.15
"""Of the room for factors, what stays for the pool's at least."""
CHOICES = 12
"""Into how many different numbers of blocks the test examples are tried to be cut."""
ROUNDING = 1.001


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes that the factors of an example take: for each token, and for each token asked."""

    token: float
    target: float

    @classmethod
    def measured(cls, tape: Tape, side: Side) -> "Weights":
        """Measured on one example of middling length."""
        order = sorted(range(len(side)), key=side.lengths.__getitem__)
        probe = side.take([order[len(order) // 2]])
        row = probe.rows[0]
        total = tape.record(probe).bytes
        words, width = tape.network.head_shape
        logits = 4.0 * words
        head = logits + 4.0 * width if any(module is tape.network.head for module in tape.modules) else 0.0
        token = max(total - head * len(row.positions), 0.0) / len(row.input_ids)
        return cls(token, max(head, logits))

    def of(self, side: Side, example: int) -> float:
        """Bytes of one example."""
        row = side.rows[example]
        return self.token * len(row.input_ids) + self.target * len(row.positions)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The blocks of test and of pool examples, each cut into the pieces of one backward pass."""

    tests: tuple[tuple[tuple[int, ...], ...], ...]
    pools: tuple[tuple[tuple[int, ...], ...], ...]
    room: int

    @classmethod
    def fit(
        cls,
        pool: Side,
        test: Side,
        weights: Weights,
        memory: int,
        divided: bool = True,
        together: int | None = None,
    ) -> "Arrangement":
        """The arrangement that computes least.

        The more test examples are held at once, the fewer times the pool's gradients are computed; the fewer pool
        examples fit beside them, the more often the test's are written out, which products of divided gradients need.

        Args:
            pool: rows of the training examples.
            test: rows of the test examples.
            weights: what gradients of the layers take.
            memory: bytes that may be taken.
            divided: whether products of divided gradients are wanted, too.
            together: of so many training examples in a row each block of the pool's has some, for products are kept of
                them together; None for all.
        """
        graph, written = GRAPH_SHARE * memory, int(WRITTEN_SHARE * memory)
        free = memory - graph - written
        tests, pools = (sum(weights.of(side, i) for i in range(len(side))) for side in (test, pool))

        def work(parts: int) -> float:
            rest = free - tests / parts
            if rest < MIN_SHARE * free:
                return float("inf")
            rounds = max(1.0, -(-pools // rest))
            recorded = 2 * (parts * sum(pool.lengths) + sum(test.lengths))
            return recorded + (parts * sum(pool.lengths) + rounds * sum(test.lengths) if divided else 0)

        least = max(1, int(-(-tests // ((1 - MIN_SHARE) * free))))
        parts = min(range(least, least + CHOICES), key=work)
        piece = graph / GRAPH

        def blocks(side: Side, some: range, limit: float) -> Iterator[tuple[tuple[int, ...], ...]]:
            order = sorted(some, key=side.lengths.__getitem__)
            sizes = {i: weights.of(side, i) for i in order}
            for block in _packed(order, sizes, limit):
                yield tuple(tuple(part) for part in _packed(block, sizes, piece))

        width, room = together or max(len(pool), 1), max(free - tests / parts, 1.0)
        spans = [range(start, min(start + width, len(pool))) for start in range(0, len(pool), width)]
        return cls(
            tuple(blocks(test, range(len(test)), tests / parts * ROUNDING)),
            tuple(block for span in spans for block in blocks(pool, span, room)),
            written,
        )


def pieces_within(side: Side, weights: Weights, memory: int) -> list[list[int]]:
    """All examples of a side, cut into the pieces of one backward pass each."""
    order = sorted(range(len(side)), key=side.lengths.__getitem__)
    sizes = {i: weights.of(side, i) for i in order}
    return list(_packed(order, sizes, GRAPH_SHARE * memory / GRAPH))


def _packed(order: Sequence[int], sizes: dict[int, float], limit: float) -> Iterator[list[int]]:
    """Cut a sequence into even runs that stay within the limit, or hold one item."""
    runs = max(1, -int(-sum(sizes[i] for i in order) // limit))
    even = sum(sizes[i] for i in order) / runs
    run: list[int] = []
    filled = 0.0
    for item in order:
        if run and (filled + sizes[item] > limit or filled >= even):
            yield run
            run, filled = [], 0.0
        run.append(item)
        filled += sizes[item]
    yield run


def record_block(tape: Tape, side: Side, pieces: Sequence[Sequence[int]]) -> Block:
    """The gradients of a block of examples, a backward pass a piece."""
    return join([tape.record(side.take(piece)) for piece in pieces])


def all_products(
    tape: Tape,
    pool: Side,
    test: Side,
    denominator: Denominator | None,
    arrangement: Arrangement,
    on_pairs: Callable[[int], None] = lambda pairs: None,
) -> Products:
    """Products of every pool with every test example's gradient, and of every pool example's with itself.

    Args:
        tape: listens to the layers of the network.
        pool: rows of the training examples.
        test: rows of the test examples.
        denominator: divides the pool's gradients, weight by weight (Adam's); None for plain products.
        arrangement: which blocks fit into memory together.
        on_pairs: called with how many pairs have been done since the last call.
    """

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.float64, device=tape.network.device)

    divided = denominator is not None
    total = Products(
        zeros(len(pool), len(test)),
        zeros(len(pool), len(test)) if divided else None,
        zeros(len(pool)),
        zeros(len(pool)) if divided else None,
    )
    for place, test_pieces in enumerate(arrangement.tests):
        there = record_block(tape, test, test_pieces)
        columns = torch.tensor([i for piece in test_pieces for i in piece], device=total.raw.device)
        for rows, found in block_products(tape, pool, arrangement, arrangement.pools, there, denominator, place == 0):
            total.raw[rows[:, None], columns] = found.raw
            if total.divided is not None and found.divided is not None:
                total.divided[rows[:, None], columns] = found.divided
            if total.own is not None and found.own is not None:
                total.own[rows] = found.own
            if total.own_divided is not None and found.own_divided is not None:
                total.own_divided[rows] = found.own_divided
            on_pairs(len(rows) * len(columns))
    return total


def block_products(
    tape: Tape,
    pool: Side,
    arrangement: Arrangement,
    blocks: Sequence[Sequence[Sequence[int]]],
    there: Block,
    denominator: Denominator | None,
    own: bool,
) -> Iterator[tuple[torch.Tensor, Products]]:
    """The products of blocks of pool examples with a block of test examples, one after the other, each with its rows.

    Args:
        tape: listens to the layers of the network.
        pool: rows of the training examples.
        arrangement: how much room there is.
        blocks: the places in the pool of each block, in pieces.
        there: the gradients of the test examples.
        denominator: divides the pool's gradients; None for plain products.
        own: whether the products of pool examples with themselves are wanted, too.
    """
    for pieces in blocks:
        here = record_block(tape, pool, pieces)
        rows = torch.tensor([i for piece in pieces for i in piece], device=tape.network.device)
        yield rows, multiply(here, there, denominator, own=own, room=arrangement.room)
