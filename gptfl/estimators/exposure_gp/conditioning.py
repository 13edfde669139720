"""Goes on from what was recorded of a run so far."""

import numpy as np
from jaxtyping import Float, Int

NINETY = 1.6449
"""So many standard deviations on either side hold 90 % of a normal distribution."""
TRUST = 4.0
"""Intervals follow the errors of runs left out as if they had been right in this many runs beforehand."""
OWN = 1e-4
"""The share of an error's variance that is each recorded value's own: keeps neighbouring steps apart."""


def conditioned(
    mean: Float[np.ndarray, "run recorded test"],
    spread: Float[np.ndarray, "run recorded test"],
    observed: Float[np.ndarray, "run recorded test"],
    alike: Float[np.ndarray, "recorded recorded"],
    errors: Float[np.ndarray, "fitted recorded test"] | None = None,
) -> tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]:
    """Mean and standard deviation of normal trajectories, given some of their values (NaN: unknown).

    ``alike`` is the correlation of errors between recorded steps. ``errors`` are such errors of other runs, in units of
    their spread: where they are given, each step's spread is what would have been right for them, had the same been
    known of those runs.
    """
    mean, spread = mean.copy(), spread.copy()
    judged: dict[bytes, Float[np.ndarray, " recorded"]] = {}
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
            if errors is not None and rows.tobytes() not in judged:
                judged[rows.tobytes()] = _judged(errors, rows, gain, left)
            factor = 1.0 if errors is None else judged[rows.tobytes()][:, None]
            spread[run][:, tests] *= np.sqrt(left)[:, None] * factor
    return mean, spread


def _judged(
    errors: Float[np.ndarray, "fitted recorded test"],
    rows: Int[np.ndarray, " known"],
    gain: Float[np.ndarray, "recorded known"],
    left: Float[np.ndarray, " recorded"],
) -> Float[np.ndarray, " recorded"]:
    """By how much the errors that remain after going on from ``rows`` are larger than ``left`` says, at each step."""
    remaining = errors - np.einsum("to,rox->rtx", gain, errors[:, rows])
    counts = np.isfinite(remaining).any(axis=2).sum(axis=0)
    found = np.ones(len(left))
    for step in np.flatnonzero((left > OWN) & (counts > 0)):
        found[step] = right_width(remaining[:, step] / np.sqrt(left[step]), int(counts[step]))
    return found


def right_width(errors: Float[np.ndarray, "..."], runs: int) -> float:
    """What makes 90 % intervals hold these errors of so many runs, in standard deviations, drawn towards 1 where few."""
    found = float(np.nanquantile(np.abs(errors), 0.9, overwrite_input=True)) / NINETY
    return float(((TRUST + runs * found**2) / (TRUST + runs)) ** 0.5)
