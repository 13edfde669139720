"""What a Gaussian process over exposures learns from, what it is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.clock import Clock, Span
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.process import Curricula


@dataclass(frozen=True, slots=True)
class RecordedRuns:
    """The runs fitted, on the steps that two or more of them recorded; NaN where one has no value.

    ``pool`` is how many training examples there are, seen or not.
    """

    curricula: Curricula
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "run recorded test"]
    pool: int

    def clock(self) -> Clock:
        """What the step sizes of these runs add up to."""
        known = np.isfinite(self.values).any(axis=2)
        return Clock.of(
            [
                Span(batches, rates, int(self.steps[0]), int(self.steps[rows].max(initial=self.steps[0])))
                for batches, rates, rows in zip(
                    self.curricula.batches, self.curricula.learning_rates, known, strict=True
                )
            ]
        )


@dataclass(frozen=True, slots=True)
class RequestedRuns:
    """The test examples asked about: their place among those fitted (-1: none), and what else is known of them.

    ``centre`` are their mean trajectories on the even scale, ``doubt`` the variance of those that had to be carried
    over (None: of none); ``vectors`` tell how alike they are, ``gradients`` are those of each feature set, to multiply
    training gradients with, ``products`` those that are known of the asked and of the fitted training examples with
    them (None: no more than when it was fitted). None where they are just those fitted.
    """

    seen: Int[np.ndarray, " asked"]
    centre: Float[np.ndarray, "run recorded asked"]
    doubt: Float[np.ndarray, "run recorded asked"] | None = None
    vectors: Float[np.ndarray, "asked d"] | None = None
    gradients: Mapping[str, Float[np.ndarray, "asked d"]] | None = None
    products: tuple[PriorProducts, PriorProducts] | None = None


@dataclass(frozen=True, slots=True)
class PosteriorPrediction:
    """What is expected of asked runs on the even scale.

    ``signal`` is the variance of what their examples do, and of what runs of nearly the same exposures share; ``noise``
    that of all else and of the average run. ``open`` is the variance of what is linear in the exposures alone, and
    ``prior`` what that was before anything was recorded.
    """

    mean: Float[np.ndarray, "run recorded test"]
    signal: Float[np.ndarray, "run recorded test"]
    noise: Float[np.ndarray, "run recorded test"]
    prior: Float[np.ndarray, "run recorded test"]
    open: Float[np.ndarray, "run recorded test"]
