"""Carries what is known of some test examples over to others, of which only the first value is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.estimators.ridge import STRENGTHS, fit_ridge, leave_one_out_error


def extrapolated(
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


ENOUGH = 8
"""So many known test examples tell a plane."""
WEIGHTS = tuple(10.0**power for power in np.arange(-3.0, 3.5, 0.5))
"""How much likeness may tell of a mean trajectory, in units of what each test example has of its own."""


def extrapolated_by_kernel(
    known: Float[np.ndarray, "recorded test"],
    kernel: Float[np.ndarray, "test test"],
    first: Float[np.ndarray, "run new"],
    cosines: Float[np.ndarray, "new test"],
    levels: tuple[Float[np.ndarray, "test k"], Float[np.ndarray, "new k"]] | None = None,
) -> tuple[Float[np.ndarray, "run recorded new"], Float[np.ndarray, "run recorded new"]]:
    """Trajectories of unseen test examples, by their first value and by the known ones similar to them (universal
    kriging).

    At each step a line in the first value, and around it a Gaussian process over test examples with the covariance
    ``weight * kernel + I``; the weight has the greatest restricted likelihood over all steps. Line and plane go on
    beyond
    the known examples, but no farther than these spread; from there on a trajectory keeps its distance to the last one
    within. With fewer than four known examples, or where all begin alike, it is as ``extrapolated`` says. Beside it,
    the
    variance of the errors; the line's own counts.

    Args:
        known: mean trajectories of the known test examples.
        kernel: similarity of each two known ones.
        first: the first value of each new one in each run.
        cosines: similarity of each new one to the known ones.
        levels: further numbers of each known and each new test example: with them the line is a plane, if that tells
            known
            test examples better from the others.
    """
    if known.shape[1] < 4 or np.ptp(known[0]) == 0:
        values = extrapolated(known, first)
        spread = np.var(known - known[0], axis=1, ddof=min(1, known.shape[1] - 1))
        return values, np.broadcast_to(spread[None, :, None], values.shape)
    line, given = np.stack([np.ones(known.shape[1]), known[0]], axis=1), [np.ones(first.shape), first]
    regression = _Regression.of(known, line, kernel)
    if levels is not None and known.shape[1] >= ENOUGH:
        trend = np.column_stack([line, levels[0]])
        # Levels that are constant, or tell the same, are no plane.
        if np.linalg.matrix_rank(trend / np.maximum(np.abs(trend).max(axis=0), 1e-300)) == trend.shape[1]:
            plane = _Regression.of(known, trend, kernel)
            if plane.missed < regression.missed:
                regression, given = plane, [*given, *(np.broadcast_to(one, first.shape) for one in levels[1].T)]
    predictors = np.stack(given, axis=2)
    within = np.clip(predictors, *regression.reach())
    # What lies farther out is doubted by how far it does.
    values, doubt = regression.at(within, cosines)[0], regression.at(predictors, cosines)[1]
    return values + (predictors - within)[:, None, :, 1], doubt


@dataclass(frozen=True, slots=True)
class _Regression:
    """What the known test examples say: a trend of each step, and what a Gaussian process adds."""

    trend: Float[np.ndarray, "test k"]
    weight: float
    inverse: Float[np.ndarray, "test test"]
    slopes: Float[np.ndarray, "k recorded"]
    rest: Float[np.ndarray, "test recorded"]
    unit: Float[np.ndarray, " recorded"]
    missed: float

    @classmethod
    def of(
        cls,
        known: Float[np.ndarray, "recorded test"],
        trend: Float[np.ndarray, "test k"],
        kernel: Float[np.ndarray, "test test"],
    ) -> "_Regression":
        """Learn from the known ones; ``missed`` is the squared error of telling each from the others."""
        ones = np.eye(len(kernel))
        weight = min(WEIGHTS, key=lambda weight: _restricted(known[1:].T, trend, weight * kernel + ones))
        inverse = np.linalg.inv(weight * kernel + ones)
        lines = inverse @ trend
        slopes = np.linalg.solve(trend.T @ lines, lines.T @ known.T)
        rest = inverse @ known.T - lines @ slopes
        own = inverse - lines @ np.linalg.solve(trend.T @ lines, lines.T)
        missed = float(((rest / own.diagonal()[:, None]) ** 2).sum())
        unit = ((known.T - trend @ slopes) * rest).sum(axis=0) / (len(trend) - trend.shape[1])
        return cls(trend, weight, inverse, slopes, rest, np.maximum(unit, 0.0), missed)

    def reach(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """From where to where the trend is trusted: a spread of the known examples beyond them on either side."""
        least, most = self.trend.min(axis=0), self.trend.max(axis=0)
        return 2.0 * least - most, 2.0 * most - least

    def at(
        self, given: Float[np.ndarray, "run new k"], cosines: Float[np.ndarray, "new test"]
    ) -> tuple[Float[np.ndarray, "run recorded new"], Float[np.ndarray, "run recorded new"]]:
        """What to expect there, and its variance."""
        cross = self.weight * cosines
        lines = self.inverse @ self.trend
        left = self.weight + 1.0 - ((cross @ self.inverse) * cross).sum(axis=1)
        away = given - cross @ lines
        left = left + np.einsum("rni,ij,rnj->rn", away, np.linalg.inv(self.trend.T @ lines), away)
        values = np.einsum("rnk,kt->rtn", given, self.slopes) + (cross @ self.rest).T[None]
        return np.asarray(values), np.maximum(left, 0.0)[:, None] * self.unit[None, :, None]


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
