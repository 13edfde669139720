"""The test examples asked about, beside those fitted: what they share with these, and how far each deviates."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp.block_basis import Basis
from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.inference import columns
from gptfl.estimators.exposure_gp.inputs import beside
from gptfl.estimators.exposure_gp.requests import RequestedRuns
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel


@dataclass(frozen=True, slots=True)
class AskedOutputs:
    """Covariances of the asked test examples with the eigenvectors of those fitted, and relative sizes of deviations.

    ``signal`` and ``noise`` are their variances in units of these sizes.
    """

    along: Basis
    sizes: Float[np.ndarray, " asked"]
    signal: Float[np.ndarray, " asked"]
    noise: Float[np.ndarray, " asked"]

    @classmethod
    def of(
        cls,
        kernel: SimilarityKernel,
        hyper: Hyper,
        requested: RequestedRuns,
        fitted: Float[np.ndarray, "test d"] | None,
    ) -> Self:
        """Of the test examples of a question.

        Args:
            kernel: the likeness of those fitted, its spectrum raised.
            hyper: how far likeness counts.
            requested: the question; it has the vectors of test examples that weren't fitted.
            fitted: the vectors of those fitted; None where there are none, and all asked were fitted.
        """
        known, share = requested.seen >= 0, hyper.similarity_share
        cols = columns(kernel.values, kernel.vectors, share, hyper.shared)
        signal, variances = cols.signal, cols.variances[0]
        if known.all():
            own = variances[requested.seen]
            along = kernel.vectors[requested.seen] * signal
            return cls(along, kernel.sizes[requested.seen], own, noise_of(own, hyper))
        assert fitted is not None
        assert requested.vectors is not None  # without vectors no other test example is answered about
        outputs, sizes = np.empty((len(known), len(signal))), np.ones(len(known))
        outputs[known] = np.asarray(kernel.vectors[requested.seen[known]]) * signal
        sizes[known] = kernel.sizes[requested.seen[known]]
        cosines, sizes[~known] = beside(fitted, requested.vectors[~known])
        own = np.empty(len(known))
        own[known] = variances[requested.seen[known]]
        new, own_new = unfitted(kernel, np.asarray(cosines @ kernel.vectors))
        outputs[~known] = share * new
        own[~known] = share * own_new + (1.0 - share)
        return cls(outputs, sizes, own, noise_of(own, hyper))


def unfitted(
    kernel: SimilarityKernel, cosines: Float[np.ndarray, "asked column"]
) -> tuple[Float[np.ndarray, "asked column"], Float[np.ndarray, " asked"]]:
    """Covariances with the eigenvectors and variances of other test examples, by their cosines with these.

    What of a vector lies along those fitted is raised as they are, and the rest stays. So a vector that was fitted has what it
    had there.
    """
    if kernel.lift is None:
        return cosines, np.ones(len(cosines))
    plain = kernel.values / kernel.lift
    inside = np.divide(cosines**2, plain, out=np.zeros_like(cosines), where=plain > 0.0)
    # Rounding makes some a little longer than themselves.
    inside /= np.maximum(inside.sum(axis=1, keepdims=True), 1.0)
    return cosines * kernel.lift, 1.0 + inside @ (kernel.lift - 1.0)


def noise_of(signal: Float[np.ndarray, " asked"], hyper: Hyper) -> Float[np.ndarray, " asked"]:
    """The variance of the noise on test examples whose signal has this one."""
    return (1.0 - hyper.shared) + hyper.shared * signal
