"""Values that some runs lack at a step: what the others tell of them, and what stays open.

With every value recorded, deviations have an inverse covariance ``P`` that two small eigendecompositions give
(``inference``). Of a Gaussian with this ``P``, the values missing are ``P_mm^-1 (-P_mo y_o)`` given those observed, with the
covariance ``P_mm^-1``. A posterior mean with these expectations in their places is that of the observed values alone; its
variance is larger by what is open of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

RIDGE = 1e-10
"""Added to ``P_mm`` in units of its largest entry: of a test example that no run has, the mean is open."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """The missing cells, by the places of run and test example, and the Cholesky factor of ``P_mm``.

    ``values`` are their expectations.
    """

    runs: Int[np.ndarray, " cell"]
    tests: Int[np.ndarray, " cell"]
    root: Float[np.ndarray, "cell cell"]
    values: Float[np.ndarray, " cell"]

    @classmethod
    def of(
        cls,
        known: Bool[np.ndarray, "run test"],
        deviations: Float[np.ndarray, "run test"],
        rows: Float[np.ndarray, "run row"],
        columns: Float[np.ndarray, "test column"],
        precision: Float[np.ndarray, "row column"],
    ) -> "Gaps":
        """The cells that aren't known, with their expectations given the others.

        Args:
            known: which deviations there are.
            deviations: from the mean run; those unknown are 0.
            rows: eigenvectors of the covariance of runs.
            columns: eigenvectors of the covariance of test examples.
            precision: the eigenvalues of ``P``, the inverse covariance of all cells.
        """
        from scipy.linalg import cho_factor, cho_solve  # takes as long to load as a simulation

        runs, tests = np.nonzero(~known)
        given = np.where(known, deviations, 0.0)
        pulled = rows @ ((rows.T @ given @ columns) * precision) @ columns.T
        inner = np.zeros((len(runs), len(runs)))
        ours, theirs = rows[runs], columns[tests]
        for row, weights in zip(ours.T, precision, strict=True):
            inner += row[:, None] * row[None] * ((theirs * weights) @ theirs.T)
        inner[np.diag_indices_from(inner)] += RIDGE * float(inner.max(initial=0.0)) + 1e-300
        root = cho_factor(inner, lower=True)
        values = cho_solve(root, -pulled[runs, tests])
        return cls(runs, tests, np.tril(root[0]), values)

    def filled(self, deviations: Float[np.ndarray, "run test"]) -> Float[np.ndarray, "run test"]:
        """The deviations, with what is expected of the missing ones."""
        whole = deviations.copy()
        whole[self.runs, self.tests] = self.values
        return whole

    def open(
        self,
        parts: Sequence[tuple[Float[np.ndarray, "asked row"], Float[np.ndarray, "output column"]]],
        rows: Float[np.ndarray, "run row"],
        columns: Float[np.ndarray, "test column"],
        precision: Float[np.ndarray, "row column"],
        places: Int[np.ndarray, " output"] | None,
    ) -> Float[np.ndarray, "asked output"]:
        """What the cells that are missing add to variances, in units of the variance.

        Args:
            parts: covariances of requested with fitted runs along ``rows``, each with those of the requested outputs
                along
                ``columns``, to be multiplied.
            rows: eigenvectors of the covariance of runs.
            columns: eigenvectors of the covariance of test examples.
            precision: the eigenvalues of ``P``.
            places: the test examples whose mean over runs is part of the output (-1: of none); None where only
                deviations
                from it are.
        """
        from scipy.linalg import solve_triangular

        found = np.zeros((len(parts[0][0]), len(parts[0][1])))
        ours, theirs = rows[self.runs], columns[self.tests]
        share = np.zeros((len(self.runs), found.shape[1]))
        if places is not None:
            share = (self.tests[:, None] == places[None]) / len(rows)
        for row in range(len(found)):
            moved = share
            for cross, outputs in parts:
                moved = moved + (((ours * cross[row]) @ precision) * theirs) @ outputs.T
            found[row] = (solve_triangular(self.root, moved, lower=True) ** 2).sum(axis=0)
        return found
