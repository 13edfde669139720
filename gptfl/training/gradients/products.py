"""Dot products of the gradients of two blocks of examples, parameter by parameter.

For a matrix there are two exact ways. From the factors: with gradients Σ_s l_s ⊗ r_s and Σ_t l'_t ⊗ r'_t, the
product is Σ_s Σ_t (l_s·l'_t)(r_s·r'_t), which never writes a gradient out. Or written out for all examples of both
blocks, some rows at a time, and multiplied as one matrix product. Whichever takes fewer operations is done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gptfl.training.gradients.denominators import Denominator
from gptfl.training.gradients.factored import Block, Held, Outer

KEPT = 4
"""Tables of token products that are kept at a time."""
CACHE = 2**24
"""Bytes of gradients that a CPU writes out at a time: what stays in its cache is multiplied fastest."""
WRITING = 2.0
"""What an operation that writes gradients out costs beside one of a large matrix product."""


@dataclass(slots=True)
class Products:
    """Products of ``raw[i, j]`` pool example i's gradient with test example j's, in float64.

    In ``divided`` and ``own_divided`` the pool's is divided; they are None where there is nothing to divide by.
    ``own`` are the pool examples' products with themselves, None where they aren't asked for.
    """

    raw: Tensor
    divided: Tensor | None
    own: Tensor | None
    own_divided: Tensor | None


class _Grams:
    """Products of all tokens of one block with all of another; the last few are kept, for layers with one input."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._kept: dict[tuple[int, int], Tensor] = {}

    def fit(self, one: Outer, other: Outer) -> bool:
        """Whether all pairs of tokens fit into the room at once."""
        return len(one.right) * len(other.right) * 4 * (KEPT + 2) <= self.room

    def of(self, one: Tensor, other: Tensor) -> Tensor:
        """(token, token) products of the factors; not to be changed."""
        key = (id(one), id(other))
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _gram(one, other)
        return self._kept[key]


def multiply(pool: Block, test: Block, denominator: Denominator | None, own: bool, room: int) -> Products:
    """Every product of a pool with a test gradient, over all parameters.

    Args:
        pool: gradients of some training examples.
        test: gradients of some test examples.
        denominator: divides the pool's gradients, weight by weight; None for plain products.
        own: whether the pool's products with themselves are wanted, too.
        room: how many bytes of gradients may be written out at a time.
    """
    some = next(iter(pool.held.values()))
    device = (some.outers[0].right if some.outers else some.whole).device  # type: ignore[union-attr]

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64, device=device)

    count = pool.count
    total = Products(
        raw=zeros(count, test.count),
        divided=None if denominator is None else zeros(count, test.count),
        own=zeros(count) if own else None,
        own_divided=zeros(count) if own and denominator is not None else None,
    )
    grams = _Grams(room)
    for place in sorted(pool.held):
        other = test.held.get(place, Held(pool.held[place].shape))
        divisor = None if denominator is None else partial(denominator, place)
        _add(total, pool.held[place], other, test.count, divisor, grams)
    return total


def _add(
    total: Products,
    pool: Held,
    test: Held,
    tests: int,
    divisor: Callable[[slice, Tensor], Tensor] | None,
    grams: _Grams,
) -> None:
    count = len(total.raw)
    has_test = bool(test.outers) or test.whole is not None
    factors_only = bool(pool.outers) and pool.whole is None and test.whole is None
    from_factors = factors_only and has_test and is_cheaper_from_factors(pool, test, count, tests, divisor is not None)
    if from_factors:
        total.raw += sum(_from_factors(one, other, grams) for one in pool.outers for other in test.outers)
    if divisor is None and factors_only and (from_factors or not has_test):
        if total.own is not None:
            total.own += own_products(pool, count)
        return
    columns = pool.shape[1] if pool.outers else 1
    size = pool.outers[0].right.element_size() if pool.outers else 4
    room = grams.room if total.raw.device.type != "cpu" else min(grams.room, CACHE)
    step = max(1, room // (size * columns * (count + tests)))
    write_pool, write_test = pool.writer(count), test.writer(tests) if has_test else None
    for first in range(0, pool.rows, step):
        last = min(first + step, pool.rows)
        mine = write_pool(first, last)
        rows = slice(first, last) if pool.outers else slice(None)
        divided = None if divisor is None else mine / divisor(rows, mine)
        if write_test is not None:
            theirs = write_test(first, last)
            if not from_factors:
                total.raw += mine @ theirs.T
            if divided is not None and total.divided is not None:
                total.divided += divided @ theirs.T
        if total.own is not None:
            total.own += mine.square().sum(dim=1)
            if divided is not None and total.own_divided is not None:
                total.own_divided += (divided * mine).sum(dim=1)


def is_cheaper_from_factors(pool: Held, test: Held, count: int, tests: int, written: bool) -> bool:
    """Whether the products of two blocks take fewer operations from factors than written out.

    Args:
        pool: one layer's gradients of the training examples.
        test: the same of the test examples.
        count: how many training examples.
        tests: how many test examples.
        written: whether the gradients are written out anyway.
    """
    rows, columns = pool.shape
    factors = sum(
        len(one.right) * len(other.right) * (columns + (0 if one.one_hot or other.one_hot else rows))
        for one in pool.outers
        for other in test.outers
    )
    writing = sum(
        len(outer.right) * (columns if outer.one_hot else rows * columns) for outer in (*pool.outers, *test.outers)
    )
    multiplying = count * tests * rows * columns
    return factors < multiplying + (0 if written else WRITING * writing)


def _gram(one: Tensor, other: Tensor) -> Tensor:
    """(token, token) products of two factors, either of which may name one-hot rows."""
    if one.dim() == 1 and other.dim() == 1:
        return one[:, None] == other[None, :]
    if one.dim() == 1:
        return other.T[one]
    return one[:, other] if other.dim() == 1 else one @ other.T


def _from_factors(one: Outer, other: Outer, grams: _Grams) -> Tensor:
    """Products of every example of one with every example of the other, (example, example)."""
    if grams.fit(one, other):
        pairs = grams.of(one.right, other.right) * grams.of(one.left, other.left)
        sums = pairs.new_zeros(len(one.counts), len(other.right)).index_add_(0, one.owners(), pairs)
    else:
        step = max(1, grams.room // (8 * max(1, len(other.right))))
        sums = one.right.new_zeros(len(one.counts), len(other.right))
        owners = one.owners()
        for first in range(0, len(one.right), step):
            part = slice(first, first + step)
            pairs = _gram(one.right[part], other.right) * _gram(one.left[part], other.left)
            sums.index_add_(0, owners[part], pairs)
    out = sums.new_zeros(len(one.counts), len(other.counts))
    return out.index_add_(1, other.owners(), sums)


def own_products(held: Held, count: int) -> Tensor:
    """Each example's product with itself, from the factors of a matrix's gradients; (example,)."""
    found = []
    spans = [outer.spans() for outer in held.outers]
    rows, columns = held.shape
    for example in range(count):
        parts = [
            Outer(outer.left[slice(*span[example])], outer.right[slice(*span[example])], (outer.counts[example],))
            for outer, span in zip(held.outers, spans, strict=True)
        ]
        tokens = sum(len(part.right) for part in parts)
        if tokens * (rows + columns) > WRITING * rows * columns and not any(part.one_hot for part in parts):
            found.append(Held(held.shape, parts).dense(1).square().sum())
        else:
            pairs = [_gram(one.right, other.right) * _gram(one.left, other.left) for one in parts for other in parts]
            found.append(torch.stack([each.sum() for each in pairs]).sum())
    return torch.stack(found)
