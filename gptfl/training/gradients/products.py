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

from gptfl.training.gradients.held import Block, Held, Outer

Denominator = Callable[[int, slice], Tensor]
"""``denominator(place, rows)`` is by what these rows of a parameter's gradients are divided, in one dimension."""


@dataclass(slots=True)
class Products:
    """Products of ``raw[i, j]`` pool example i's gradient with test example j's, in float64.

    In ``divided`` and ``own_divided`` one side is divided; they are None where there is nothing to divide by.
    ``own`` are the pool examples' products with themselves, None where they aren't asked for.
    """

    raw: Tensor
    divided: Tensor | None
    own: Tensor | None
    own_divided: Tensor | None


def multiply(pool: Block, test: Block, denominator: Denominator | None, own: bool, room: int) -> Products:
    """Every product of a pool with a test gradient, over all parameters.

    ``own`` asks for the pool's products with themselves, too; ``room`` is how many bytes of gradients may be
    written out at a time.
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
    for place in sorted(pool.held):
        other = test.held.get(place, Held(pool.held[place].shape))
        divisor = None if denominator is None else partial(denominator, place)
        _add(total, pool.held[place], other, test.count, divisor, room)
    return total


def _add(
    total: Products, pool: Held, test: Held, tests: int, divisor: Callable[[slice], Tensor] | None, room: int
) -> None:
    count = len(total.raw)
    has_test = bool(test.outers) or test.whole is not None
    factors_only = bool(pool.outers) and pool.whole is None and test.whole is None
    from_factors = factors_only and has_test and is_cheaper_from_factors(pool, test, count, tests, divisor is not None)
    if from_factors:
        total.raw += sum(_from_factors(one, other, room) for one in pool.outers for other in test.outers)
    if divisor is None and factors_only and (from_factors or not has_test):
        if total.own is not None:
            total.own += own_products(pool, count)
        return
    columns = pool.shape[1] if pool.outers else 1
    size = pool.outers[0].right.element_size() if pool.outers else 4
    step = max(1, room // (size * columns * (count + tests)))
    for first in range(0, pool.rows, step):
        last = min(first + step, pool.rows)
        mine = pool.dense(count, first, last)
        rows = slice(first, last) if pool.outers else slice(None)
        inverse = None if divisor is None else divisor(rows).reciprocal()
        if has_test:
            theirs = test.dense(tests, first, last)
            if not from_factors:
                total.raw += mine @ theirs.T
            if inverse is not None and total.divided is not None:
                total.divided += mine @ (theirs * inverse).T
        if total.own is not None:
            squares = mine.square_()
            total.own += squares.sum(dim=1)
            if inverse is not None and total.own_divided is not None:
                total.own_divided += squares @ inverse


def is_cheaper_from_factors(pool: Held, test: Held, count: int, tests: int, written: bool) -> bool:
    """Whether the products of two blocks take fewer operations from factors than written out.

    ``written`` says that the gradients are written out anyway.
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
    return factors < multiplying + (0 if written else writing)


def operations(pool: Held, test: Held, count: int, tests: int, divided: bool) -> float:
    """Multiplications that the products of two blocks come to, as ``multiply`` does them."""
    if not pool.outers or not test.outers:
        return float(count * tests * max(1, pool.rows))
    rows, columns = pool.shape
    factors = sum(
        len(one.right) * len(other.right) * (columns + (0 if one.one_hot or other.one_hot else rows))
        for one in pool.outers
        for other in test.outers
    )
    writing = sum(len(outer.right) * rows * columns for outer in (*pool.outers, *test.outers) if not outer.one_hot)
    multiplying = count * tests * rows * columns
    if divided:
        return float(writing + multiplying + min(factors, multiplying))
    return float(min(factors, writing + multiplying))


def _from_factors(one: Outer, other: Outer, room: int) -> Tensor:
    """Products of every example of one with every example of the other, (example, example)."""
    step = max(1, room // (8 * max(1, len(other.right))))
    sums = one.right.new_zeros(len(one.counts), len(other.right))
    owners = one.owners()
    for first in range(0, len(one.right), step):
        part = slice(first, first + step)
        pairs = one.right[part] @ other.right.T
        _times_left(pairs, one.left[part], other.left)
        sums.index_add_(0, owners[part], pairs)
    out = sums.new_zeros(len(one.counts), len(other.counts))
    return out.index_add_(1, other.owners(), sums)


def _times_left(pairs: Tensor, one: Tensor, other: Tensor) -> None:
    """Multiply (token, token) pairs in place by the products of their left factors."""
    if one.dim() == 1 and other.dim() == 1:
        pairs *= one[:, None] == other[None, :]
    elif one.dim() == 1:
        pairs *= other.T[one]
    elif other.dim() == 1:
        pairs *= one[:, other]
    else:
        pairs *= one @ other.T


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
        if tokens * (rows + columns) > rows * columns and not any(part.one_hot for part in parts):
            found.append(Held(held.shape, parts).dense(1, 0, rows).square().sum())
        else:
            found.append(torch.stack([_own_pairs(one, other) for one in parts for other in parts]).sum())
    return torch.stack(found)


def _own_pairs(one: Outer, other: Outer) -> Tensor:
    pairs = one.right @ other.right.T
    _times_left(pairs, one.left, other.left)
    return pairs.sum()
