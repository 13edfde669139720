"""How alike the test examples are: a correlation matrix by its eigenvectors, and relative sizes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp import block_basis
from gptfl.estimators.exposure_gp.block_basis import Basis, alone, eigenbasis

ROUNDING = 1e-9
"""An eigenvalue of less than this share of the greatest is 0."""


@dataclass(frozen=True, slots=True)
class SimilarityKernel:
    """How alike the test examples are: eigenvalues and eigenvectors of a correlation matrix, and relative sizes.

    ``lift`` is what each eigenvalue was multiplied by (``raised``), None where they are those of the cosines.
    """

    values: Float[np.ndarray, " column"]
    vectors: Basis
    sizes: Float[np.ndarray, " test"]
    lift: Float[np.ndarray, " column"] | None = None

    def raised(self, power: float) -> "SimilarityKernel":
        """The same with the eigenvalues to a power, their sum as before.

        Above 1 test examples move together more than the cosines of their vectors say: what moves many of them moves these
        farther, and what moves few moves them less. The variances of single ones are then no longer all 1.
        """
        values = spectrum(self.values, power)
        lift = np.divide(values, self.values, out=np.ones(len(values)), where=values > 0.0)
        return replace(self, values=values, lift=lift)

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "test d"] | None, count: int) -> "SimilarityKernel":
        """Cosines of these vectors, and their lengths; unalike and of one size where there are none.

        More than ``block_basis.MOST`` test examples are alike within blocks only.
        """
        if vectors is None:
            return cls(np.zeros(count), alone(count), np.ones(count))
        lengths = np.linalg.norm(vectors, axis=1)
        unit = vectors / np.maximum(lengths, 1e-300)[:, None]
        values, turn = eigenbasis(unit) if count > block_basis.MOST else np.linalg.eigh(unit @ unit.T)
        return cls(values, turn, lengths / np.sqrt(np.mean(lengths**2)))

    @property
    def cosines(self) -> Float[np.ndarray, "test test"]:
        """The cosines of the vectors themselves, whatever power their eigenvalues were raised to."""
        plain = self.values if self.lift is None else self.values / self.lift
        return np.asarray((self.vectors * plain) @ np.asarray(self.vectors).T)


def spectrum(values: Float[np.ndarray, " column"], power: float) -> Float[np.ndarray, " column"]:
    """Eigenvalues to a power, their sum as before; those that are 0 but for rounding are 0."""
    greatest = float(values.max(initial=0.0))
    known = np.where(values > ROUNDING * greatest, values, 0.0)
    if greatest <= 0.0:
        return known
    raised = (known / greatest) ** power
    return np.asarray(raised * (float(known.sum()) / float(raised.sum())))
