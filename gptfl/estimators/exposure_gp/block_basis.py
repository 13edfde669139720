"""The eigenvectors of a likeness between so many test examples that a matrix of all pairs is too large.

Test examples are put into blocks of those whose vectors point in like directions, and those of different blocks count as
unalike. What is learned is then shared within a block alone, which has hundreds of test examples to share it among.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

MOST = 2000
"""The likeness of so many test examples is held as a whole: 32 MB, and as much again for its eigenvectors."""
BLOCK = 1000
"""So many at most are in a block."""
ROUNDS = 20
"""Of the power iteration that finds along which direction vectors differ most."""


class BlockBasis:
    """A matrix of test examples by columns that is zero outside of blocks; it is multiplied by arrays from both sides."""

    __array_ufunc__ = None
    """So that numpy leaves operators with arrays to this class."""

    def __init__(
        self,
        rows: Sequence[Int[np.ndarray, " row"]],
        columns: Sequence[Int[np.ndarray, " column"]],
        blocks: Sequence[Float[np.ndarray, "row column"]],
        shape: tuple[int, int],
    ) -> None:
        """Of blocks with their rows and columns."""
        self.rows, self.columns, self.blocks, self.shape = rows, columns, blocks, shape

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def T(self) -> "BlockBasis":
        """The transpose."""
        return BlockBasis(self.columns, self.rows, [block.T for block in self.blocks], self.shape[::-1])

    def __matmul__(self, other: Float[np.ndarray, "column ..."]) -> Float[np.ndarray, "row ..."]:
        found = np.zeros((self.shape[0], *other.shape[1:]))
        for rows, columns, block in zip(self.rows, self.columns, self.blocks, strict=True):
            found[rows] = block @ other[columns]
        return found

    def __rmatmul__(self, other: Float[np.ndarray, "... row"]) -> Float[np.ndarray, "... column"]:
        found = np.zeros((*other.shape[:-1], self.shape[1]))
        for rows, columns, block in zip(self.rows, self.columns, self.blocks, strict=True):
            found[..., columns] = other[..., rows] @ block
        return found

    def __mul__(self, other: "float | Float[np.ndarray, ' column'] | BlockBasis") -> "BlockBasis":
        if isinstance(other, BlockBasis):
            return self._with([one * two for one, two in zip(self.blocks, other.blocks, strict=True)])
        if np.ndim(other) == 0:
            return self._with([block * other for block in self.blocks])
        along = np.asarray(other)
        return self._with([block * along[columns] for block, columns in zip(self.blocks, self.columns, strict=True)])

    __rmul__ = __mul__

    def __add__(self, other: "BlockBasis") -> "BlockBasis":
        return self._with([one + two for one, two in zip(self.blocks, other.blocks, strict=True)])

    def __pow__(self, power: int) -> "BlockBasis":
        return self._with([block**power for block in self.blocks])

    def __getitem__(self, places: Int[np.ndarray, " chosen"]) -> "BlockBasis":
        """The rows at these places, in their order."""
        kept, blocks = [], []
        for rows, block in zip(self.rows, self.blocks, strict=True):
            at = np.full(self.shape[0], -1)
            at[rows] = np.arange(len(rows))
            here = np.flatnonzero(at[places] >= 0)
            kept.append(here)
            blocks.append(block[at[places[here]]])
        return BlockBasis(kept, self.columns, blocks, (len(places), self.shape[1]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = np.zeros(self.shape)
        for rows, columns, block in zip(self.rows, self.columns, self.blocks, strict=True):
            found[np.ix_(rows, columns)] = block
        return found if dtype is None else found.astype(dtype)

    def _with(self, blocks: Sequence[Float[np.ndarray, "row column"]]) -> "BlockBasis":
        return BlockBasis(self.rows, self.columns, blocks, self.shape)


Basis = Float[np.ndarray, "test column"] | BlockBasis
"""Vectors of test examples, as a whole or in blocks."""


def alone(count: int) -> Basis:
    """The vectors of so many test examples of which none is like another."""
    if count <= MOST:
        return np.eye(count)
    rows = np.array_split(np.arange(count), -(-count // BLOCK))
    return BlockBasis(rows, rows, [np.eye(len(one)) for one in rows], (count, count))


def eigenbasis(unit: Float[np.ndarray, "test d"]) -> tuple[Float[np.ndarray, " column"], BlockBasis]:
    """Eigenvalues and eigenvectors of the cosines of these unit vectors within blocks, 0 between them."""
    rows = _blocks(unit, np.arange(len(unit)))
    values, blocks, columns, first = [], [], [], 0
    for places in rows:
        one, turn = np.linalg.eigh(unit[places] @ unit[places].T)
        values.append(one)
        blocks.append(turn)
        columns.append(np.arange(first, first + len(places)))
        first += len(places)
    return np.concatenate(values), BlockBasis(rows, columns, blocks, (len(unit), len(unit)))


def _blocks(unit: Float[np.ndarray, "test d"], places: Int[np.ndarray, " test"]) -> list[Int[np.ndarray, " test"]]:
    """Places cut in halves along the direction in which their vectors differ most, until none is too large."""
    if len(places) <= BLOCK:
        return [np.sort(places)]
    apart = unit[places] - unit[places].mean(axis=0)
    # The same start each time, so that the same vectors make the same blocks.
    along = apart[int(np.argmax((apart**2).sum(axis=1)))]
    for _ in range(ROUNDS):
        along = apart.T @ (apart @ along)
        along = along / max(float(np.linalg.norm(along)), 1e-300)
    order = np.argsort(apart @ along, kind="stable")
    half = len(places) // 2
    return [*_blocks(unit, places[order[:half]]), *_blocks(unit, places[order[half:]])]
