"""Exposures to single examples by their products alone: of a large pool hardly any run sees more than a small part.

What a Gaussian process needs of the effects that each example has by itself are products of runs' exposures. They are
summed up from what the runs have seen, step after step, and no array has a column for every example of the pool.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from gptfl.estimators.exposure_gp.curricula import Curricula


@dataclass(frozen=True, slots=True)
class OwnProducts:
    """Products of some runs' exposures at a step with those of the runs fitted (``cross``) and with themselves."""

    cross: Float[np.ndarray, "run fitted"]
    squares: Float[np.ndarray, " run"]

    def of(self, runs: Int[np.ndarray, " kept"], fitted: Int[np.ndarray, " kept_fitted"]) -> "OwnProducts":
        """Those of some of the runs with some of those fitted."""
        return OwnProducts(self.cross[np.ix_(runs, fitted)], self.squares[runs])

    def centred(self) -> Float[np.ndarray, "run run"]:
        """Products of the runs fitted, less their mean, with one another; nothing where they differ by rounding alone."""
        level = self.cross.mean(axis=0)
        found = self.cross - level - level[:, None] + level.mean()
        apart = np.trace(found) <= 1e-12 * max(float(self.squares.sum()), 0.0)
        return np.zeros_like(found) if apart else 0.5 * (found + found.T)

    def against(self, fitted: "OwnProducts") -> tuple[Float[np.ndarray, "run fitted"], Float[np.ndarray, " run"]]:
        """Products with the runs fitted, all less the mean of these, and the squares of the same distances.

        Args:
            fitted: the products of the runs fitted with one another.
        """
        level = fitted.cross.mean(axis=0)
        here = self.cross.mean(axis=1)
        cross = self.cross - here[:, None] - level[None] + level.mean()
        return cross, np.maximum(self.squares - 2.0 * here + level.mean(), 0.0)

    def distances(self, fitted: "OwnProducts") -> Float[np.ndarray, "run fitted"]:
        """The squared distances from the exposures of the runs fitted."""
        return np.asarray(self.squares[:, None] + fitted.squares[None] - 2.0 * self.cross)


@dataclass(frozen=True, slots=True)
class Cells:
    """What runs see: how much of an example from one recorded step to the next. Each run's come by example and step.

    ``row`` is the recorded step at which it counts first.
    """

    run: Int[np.ndarray, " cell"]
    example: Int[np.ndarray, " cell"]
    row: Int[np.ndarray, " cell"]
    value: Float[np.ndarray, " cell"]
    shape: tuple[int, int]
    """How many runs, and how many recorded steps."""
    kept: Float[np.ndarray, "recorded run"]
    """What sums are multiplied by at each of these steps (``Curricula.kept``)."""

    @classmethod
    def of(
        cls,
        runs: "Curricula",
        steps: Int[np.ndarray, " recorded"],
        relative: bool = True,
        own: Int[np.ndarray, " example"] | None = None,
    ) -> "Cells":
        """From batches and step sizes.

        Args:
            runs: of which ``batches`` number the examples.
            steps: recorded, ascending.
            relative: whether examples count as they do in the loss of a batch, or all alike.
            own: which one each example is among those fitted (None: itself).
        """
        run, step, column = np.nonzero(runs.batches >= 0)
        row = np.searchsorted(steps, step + 1)
        kept = row < len(steps)
        run, step, row = run[kept], step[kept], row[kept]
        example = runs.batches[run, step, column[kept]]
        value = runs.weights[run, step]
        if relative and runs.relative is not None:
            value = value * runs.relative[example]
        if own is not None:
            example = own[example]
        order = np.lexsort((row, example, run))
        run, example, row, value = run[order], example[order], row[order], value[order]
        first = np.ones(len(run), dtype=bool)
        first[1:] = (np.diff(run) != 0) | (np.diff(example) != 0) | (np.diff(row) != 0)
        total = np.add.reduceat(value, np.flatnonzero(first)) if len(value) else value
        return cls(run[first], example[first], row[first], total, (len(runs.batches), len(steps)), runs.kept(steps))

    @property
    def squares(self) -> Float[np.ndarray, "recorded run"]:
        """The sum of each run's squared exposures at each recorded step."""
        first = np.ones(len(self.run), dtype=bool)
        first[1:] = (np.diff(self.run) != 0) | (np.diff(self.example) != 0)
        upto = np.cumsum(self.value)
        before = np.where(first, upto - self.value, 0.0)
        # What was summed up before an example's first cell; these are of ascending order.
        upto = upto - np.maximum.accumulate(before)
        more = upto**2 - (upto - self.value) ** 2
        return np.asarray(self._over_steps(more) * self.kept**2)

    @property
    def sums(self) -> Float[np.ndarray, "recorded run"]:
        """The sum of each run's exposures at each recorded step."""
        return np.asarray(self._over_steps(self.value) * self.kept)

    def _over_steps(self, values: Float[np.ndarray, " cell"]) -> Float[np.ndarray, "recorded run"]:
        runs, rows = self.shape
        found = np.bincount(self.row * runs + self.run, values, rows * runs).reshape(rows, runs)
        return np.asarray(np.cumsum(found, axis=0))

    def until(self, row: int, columns: int) -> Any:
        """The exposures at a recorded step, a row each run, as a sparse array with a column for each example."""
        from scipy.sparse import csr_array  # takes as long to load as a simulation

        there = self.row <= row
        places = self.run[there], self.example[there]
        values = self.value[there] * self.kept[row][self.run[there]]
        return csr_array((values, places), shape=(self.shape[0], columns))

    def products(self, fitted: "Cells") -> Iterator[OwnProducts]:
        """Products with the exposures of the runs fitted, at each recorded step."""
        from scipy.sparse import csr_array

        width = 1 + max(int(one.example.max(initial=-1)) for one in (self, fitted))
        order, other = np.argsort(self.row, kind="stable"), np.argsort(fitted.row, kind="stable")
        cross, squares = np.zeros((self.shape[0], fitted.shape[0])), self.squares

        def at(cells: Cells, order: Int[np.ndarray, " cell"], row: int) -> Any:
            first, last = np.searchsorted(cells.row[order], (row, row + 1))
            some = order[first:last]
            places = cells.run[some], cells.example[some]
            return csr_array((cells.value[some], places), shape=(cells.shape[0], width))

        before, before_fitted = csr_array((*cross.shape[:1], width)), csr_array((cross.shape[1], width))
        for row in range(self.shape[1]):
            more, more_fitted = at(self, order, row), at(fitted, other, row)
            now = before + more
            if more.nnz:
                cross = cross + (more @ before_fitted.T).toarray()
            if more_fitted.nnz:
                cross = cross + (now @ more_fitted.T).toarray()
            before, before_fitted = now, before_fitted + more_fitted
            yield OwnProducts(cross * np.outer(self.kept[row], fitted.kept[row]), squares[row])
