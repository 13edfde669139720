"""Ridge regression in its dual form: all that it needs of the exposures is their products between runs.

The same regression as ``gptfl.estimators.ridge``, for rows of any length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenvectors and eigenvalues of the products of centred rows; ``means`` are the uncentred products' row means."""

    vectors: Float[np.ndarray, "run run"]
    values: Float[np.ndarray, " run"]
    means: Float[np.ndarray, " run"]

    @classmethod
    def of(cls, products: Float[np.ndarray, "run run"]) -> "Spectrum":
        """Decompose the products of rows with each other."""
        means = products.mean(axis=1)
        values, vectors = np.linalg.eigh(products - means[:, None] - means[None, :] + means.mean())
        # What is left of a zero after rounding would be divided by a small penalty.
        floor = len(values) * np.finfo(np.float64).eps * max(float(np.abs(products).max(initial=0.0)), 0.0)
        return cls(vectors, np.where(values > floor, values, 0.0), means)

    def _filtered(self, strength: float) -> tuple[Float[np.ndarray, " run"], float]:
        penalty = strength * float(self.values.sum()) / len(self.values)
        learns = penalty > 0.0 and np.isfinite(penalty)
        return (self.values if learns else np.zeros_like(self.values)), (penalty if learns else 1.0)

    def solve(
        self, y: Float[np.ndarray, "run test"], strength: float
    ) -> tuple[Float[np.ndarray, " test"], Float[np.ndarray, "run test"]]:
        """Intercept and weights such that the prediction is intercept + products with the rows @ weights.

        The penalty is ``strength`` times the mean squared length of a centred row; the intercept is free. Rows that
        are all alike give weights 0.
        """
        values, penalty = self._filtered(strength)
        gain = np.where(values > 0, 1.0 / (values + penalty), 0.0)
        weights = self.vectors @ (gain[:, None] * (self.vectors.T @ (y - y.mean(axis=0))))
        return y.mean(axis=0) - self.means @ weights, weights

    def leave_one_out_error(self, y: Float[np.ndarray, "run test"], strength: float) -> float:
        """Sum of squared errors at each row when fitted to all the others, in closed form."""
        values, penalty = self._filtered(strength)
        smoother = values / (values + penalty)
        fitted = y.mean(axis=0) + self.vectors @ (smoother[:, None] * (self.vectors.T @ (y - y.mean(axis=0))))
        leverage = 1.0 / len(y) + (self.vectors**2) @ smoother
        return float((((y - fitted) / (1.0 - leverage)[:, None]) ** 2).sum())


@dataclass(frozen=True, slots=True)
class Piece:
    """The test examples (``columns``) that the same runs (``rows``) have values of, and these values."""

    rows: Int[np.ndarray, " row"]
    columns: Int[np.ndarray, " column"]
    values: Float[np.ndarray, "row column"]
    spectrum: Spectrum


def pieces_of(products: Float[np.ndarray, "run run"], recorded: Float[np.ndarray, "run test"]) -> list[Piece]:
    """Cut values with gaps (NaN) into pieces without; test examples that no run has a value of are in none."""
    patterns, group = np.unique(np.isfinite(recorded), axis=1, return_inverse=True)
    found = []
    for number in range(patterns.shape[1]):
        rows, columns = np.flatnonzero(patterns[:, number]), np.flatnonzero(group.ravel() == number)
        if len(rows):
            spectrum = Spectrum.of(products[np.ix_(rows, rows)])
            found.append(Piece(rows, columns, recorded[np.ix_(rows, columns)], spectrum))
    return found


def least_error(problems: Sequence[Sequence[Piece]], strengths: Sequence[float]) -> float:
    """The strength with the least leave-one-out error over all pieces, the strongest of equals."""
    errors = np.zeros(len(strengths))
    for piece in (piece for pieces in problems for piece in pieces if len(piece.rows) > 1):
        errors += [piece.spectrum.leave_one_out_error(piece.values, strength) for strength in strengths]
    return strengths[int(np.flatnonzero(errors == errors.min())[-1])]
