"""Carries what is known of some test examples over to others, of which only the first value is known."""

import numpy as np
from jaxtyping import Float

from gptfl.simulator.ridge import STRENGTHS, fit_ridge, leave_one_out_error


def carried_over(
    known: Float[np.ndarray, "recorded test"], first: Float[np.ndarray, "run new"]
) -> Float[np.ndarray, "run recorded new"]:
    """Trajectories that start at ``first`` and change as the known test examples do on average.

    At each step, the known ones' change since the first is regressed on their first value. The ridge penalty has
    the least leave-one-out error over all steps, an infinite one (the mean change, whatever the first value) among
    the candidates; values beyond the known first ones get the change of the nearest.
    """
    start, change = known[0][:, None], (known - known[0]).T
    errors = [leave_one_out_error(start, change, strength) for strength in STRENGTHS]
    # Of equals the strongest penalty; with a single test example all errors are NaN.
    best = STRENGTHS[int(np.flatnonzero(errors == np.nanmin(errors))[-1])] if len(start) > 1 else STRENGTHS[-1]
    level, slope = fit_ridge(start, change, best)
    within = np.clip(first, start.min(), start.max())
    return np.asarray(first[:, None] + level[None, :, None] + slope[0][None, :, None] * within[:, None])


WEIGHTS = tuple(10.0**power for power in np.arange(-3.0, 3.5, 0.5))
"""How much likeness may tell of a mean trajectory, in units of what each test example has of its own."""


def carried_alike(
    known: Float[np.ndarray, "recorded test"],
    alike: Float[np.ndarray, "test test"],
    first: Float[np.ndarray, "run new"],
    cosines: Float[np.ndarray, "new test"],
) -> tuple[Float[np.ndarray, "run recorded new"], Float[np.ndarray, "run recorded new"]]:
    """The same, told from the first value and from the test examples that are alike (universal kriging).

    At each step a line in the first value, and around it a Gaussian process over test examples with the covariance
    ``weight * alike + I``; the weight has the greatest restricted likelihood over all steps. Where there are too few
    known examples for that it is as ``carried_over`` tells. Beside it, the variance of the errors; the line's own
    counts.
    """
    trend = np.stack([np.ones(known.shape[1]), known[0]], axis=1)
    if known.shape[1] < 4 or np.ptp(known[0]) == 0:
        values = carried_over(known, first)
        spread = np.var(known - known[0], axis=1, ddof=min(1, known.shape[1] - 1))
        return values, np.broadcast_to(spread[None, :, None], values.shape)
    best = min(WEIGHTS, key=lambda weight: _restricted(known[1:].T, trend, weight * alike + np.eye(len(alike))))
    covariance = best * alike + np.eye(len(alike))
    solved = np.linalg.solve(covariance, np.concatenate([known.T, trend], axis=1))
    values, lines = solved[:, : len(known)], solved[:, len(known) :]
    inner = trend.T @ lines
    line = np.linalg.solve(inner, trend.T @ values)
    rest = values - lines @ line
    within = np.clip(first, known[0].min(), known[0].max())
    straight = line[0][None, :, None] + line[1][None, :, None] * within[:, None]
    unit = ((known.T - trend @ line) * rest).sum(axis=0) / (known.shape[1] - 2)
    left = best + 1.0 - ((best * cosines) @ np.linalg.solve(covariance, (best * cosines).T)).diagonal()
    away = np.stack([np.ones(first.shape), within], axis=2) - best * cosines @ lines
    left = left + np.einsum("rni,ij,rnj->rn", away, np.linalg.inv(inner), away)
    spread = np.maximum(left, 0.0)[:, None] * np.maximum(unit, 0.0)[None, :, None]
    return np.asarray(straight + (best * cosines @ rest).T[None]), np.asarray(spread)


def _restricted(
    outputs: Float[np.ndarray, "test recorded"], trend: Float[np.ndarray, "test k"], covariance: np.ndarray
) -> float:
    """Minus the log of the restricted likelihood, each output with a variance of its own."""
    root = np.linalg.cholesky(covariance)
    basis, triangle = np.linalg.qr(np.linalg.solve(root, trend))
    white = np.linalg.solve(root, outputs)
    white = white - basis @ (basis.T @ white)
    freedom = len(outputs) - trend.shape[1]
    spread = np.maximum((white**2).sum(axis=0) / freedom, 1e-300)
    own = np.log(np.diag(root)).sum() + np.log(np.abs(np.diag(triangle))).sum()
    return float(0.5 * freedom * np.log(spread).sum() + outputs.shape[1] * own)
