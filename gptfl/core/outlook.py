"""What further runs would tell: covariances that are known before any of them is trained."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class RunOutlook:
    """What is known, after the runs fitted, of influences on a target, and of what members do to a run's target.

    Units are those of one run's noise: its variance is 1. ``members[i, j]`` is the covariance of what seeing example i
    once does to a run with what seeing j does; ``targets[i, j]`` that of the influence of row i with what seeing j does;
    ``variances`` are those of the influences. ``level`` is the variance of what all runs have in common.

    ``before`` is what ``members`` was before any run, and ``reach`` the largest variance that it gave to how a run fitted
    departs from the average one: so far the linear law was seen to hold.
    """

    targets: Float[np.ndarray, "example example"]
    members: Float[np.ndarray, "example example"]
    variances: Float[np.ndarray, " example"]
    level: float
    before: Float[np.ndarray, "example example"]
    reach: float
