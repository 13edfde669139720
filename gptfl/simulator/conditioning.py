"""Goes on from what was recorded of a run so far."""

import numpy as np
from jaxtyping import Float

OWN = 1e-4
"""The share of an error's variance that is each recorded value's own: keeps neighbouring steps apart."""


def conditioned(
    mean: Float[np.ndarray, "run recorded test"],
    spread: Float[np.ndarray, "run recorded test"],
    observed: Float[np.ndarray, "run recorded test"],
    alike: Float[np.ndarray, "recorded recorded"],
) -> tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]:
    """Mean and standard deviation of normal trajectories, given some of their values (NaN: unknown).

    ``alike`` is the correlation of errors between recorded steps.
    """
    mean, spread = mean.copy(), spread.copy()
    known = np.isfinite(observed) & (spread > 0)
    for run in range(len(mean)):
        patterns, which = np.unique(known[run], axis=1, return_inverse=True)
        for number in range(patterns.shape[1]):
            rows, tests = np.flatnonzero(patterns[:, number]), np.flatnonzero(which.ravel() == number)
            if not len(rows):
                continue
            gain = np.linalg.solve(alike[np.ix_(rows, rows)] + OWN * np.eye(len(rows)), alike[rows]).T
            error = (observed[run] - mean[run])[np.ix_(rows, tests)] / spread[run][np.ix_(rows, tests)]
            left = np.clip(1.0 - np.einsum("to,to->t", gain, alike[:, rows]), 0.0, 1.0)
            mean[run][:, tests] += spread[run][:, tests] * (gain @ error)
            spread[run][:, tests] *= np.sqrt(left)[:, None]
    return mean, spread
