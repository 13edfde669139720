"""Goes on from what was recorded of a run so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NINETY = 1.6449
"""So many standard deviations on either side hold 90 % of a normal distribution."""
TRUST = 4.0
"""Intervals follow the errors of runs left out as if they had been right in this many runs beforehand."""
OWN = 1e-4
"""The share of an error's variance that is each recorded value's own: keeps neighbouring steps apart."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Errors of some runs, in units of their spread, and the correlation of errors between steps that other runs tell.

    A correlation fits the errors that it was estimated from too well, and so says nothing of how much of others it leaves.
    """

    errors: Float[np.ndarray, "run recorded test"]
    correlation: Float[np.ndarray, "recorded recorded"]

    def at(self, rows: Int[np.ndarray, " row"]) -> "LeftOut":
        """The same at some of the steps."""
        return LeftOut(self.errors[:, rows], self.correlation[np.ix_(rows, rows)])


def conditioned(
    mean: Float[np.ndarray, "run recorded test"],
    spread: Float[np.ndarray, "run recorded test"],
    observed: Float[np.ndarray, "run recorded test"],
    correlation: Float[np.ndarray, "recorded recorded"],
    parts: Sequence[LeftOut] = (),
) -> tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]:
    """Mean and standard deviation of normal trajectories, given some of their values.

    Args:
        mean: before anything was observed.
        spread: standard deviations before anything was observed; where they are 0, nothing is learned.
        observed: the values (NaN: unknown).
        correlation: that of errors between recorded steps.
        parts: errors of other runs; where there are some, each step's spread is what would have been right for them,
            had
            the same been known of those runs.
    """
    mean, spread = mean.copy(), spread.copy()
    factors: dict[bytes, Float[np.ndarray, " recorded"]] = {}
    known = np.isfinite(observed) & (spread > 0)
    for run in range(len(mean)):
        patterns, which = np.unique(known[run], axis=1, return_inverse=True)
        for number in range(patterns.shape[1]):
            rows, tests = np.flatnonzero(patterns[:, number]), np.flatnonzero(which.ravel() == number)
            if not len(rows):
                continue
            gain, left = _gain(correlation, rows)
            error = (observed[run] - mean[run])[np.ix_(rows, tests)] / spread[run][np.ix_(rows, tests)]
            mean[run][:, tests] += spread[run][:, tests] * (gain @ error)
            if parts and rows.tobytes() not in factors:
                factors[rows.tobytes()] = _calibrated(parts, rows)
            factor = factors[rows.tobytes()][:, None] if parts else 1.0
            spread[run][:, tests] *= np.sqrt(left)[:, None] * factor
    return mean, spread


def _gain(
    correlation: Float[np.ndarray, "recorded recorded"], rows: Int[np.ndarray, " known"]
) -> tuple[Float[np.ndarray, "recorded known"], Float[np.ndarray, " recorded"]]:
    """What errors at ``rows`` say of those at each step, and the share of their variance that stays open."""
    gain = np.linalg.solve(correlation[np.ix_(rows, rows)] + OWN * np.eye(len(rows)), correlation[rows]).T
    return gain, np.clip(1.0 - np.einsum("to,to->t", gain, correlation[:, rows]), 0.0, 1.0)


def _calibrated(parts: Sequence[LeftOut], rows: Int[np.ndarray, " known"]) -> Float[np.ndarray, " recorded"]:
    """By how much the errors that remain after going on from ``rows`` are larger than they should be, at each step."""
    standardised = []
    for part in parts:
        gain, left = _gain(part.correlation, rows)
        remaining = part.errors - np.einsum("to,rox->rtx", gain, part.errors[:, rows])
        remaining[:, left <= OWN] = np.nan
        standardised.append(remaining / np.sqrt(np.maximum(left, OWN))[:, None])
    remaining = np.concatenate(standardised)
    counts = np.isfinite(remaining).any(axis=2).sum(axis=0)
    found = np.ones(remaining.shape[1])
    for step in np.flatnonzero(counts > 0):
        found[step] = right_width(remaining[:, step], int(counts[step]))
    return found


def right_width(errors: Float[np.ndarray, "..."], runs: int) -> float:
    """What makes 90 % intervals hold these errors of so many runs, in standard deviations, drawn towards 1 where few."""
    found = float(np.nanquantile(np.abs(errors), 0.9, overwrite_input=True)) / NINETY
    return float(((TRUST + runs * found**2) / (TRUST + runs)) ** 0.5)
