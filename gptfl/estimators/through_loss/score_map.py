"""From how far a run's losses lie from the average run's to another metric: a logistic regression.

The metric's share of its range, ``y`` in [0, 1], of run r at recorded step s on test example j is expected to be

    E[y_rsj] = 1 / (1 + exp(-(a_sj + (b + b_j) x_rsj)))

where ``x`` is the predicted departure of the loss from the average run, on a scale on which effects add up. Each cell (s, j)
has a level of its own, so that the average run is kept whatever the slope; test examples answer to their loss by a common
slope and one of their own, which is drawn towards the common one as far as runs left out say.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

PRIOR_RUNS = 0.1
"""A cell, a step and a test example, counts so many runs more, half of them at either end of the range: no level is infinite.

With a whole run, levels of a WebNLG recording's ROUGE-L (12 runs fitted) were off by so much that the average run was 4 % worse.
"""
SLOPE_PENALTY = 0.01
"""Of the common slope's square, in units of the departures' size; it matters where all that was recorded lies at the ends."""
OWN_PENALTIES = (0.3, 3.0, 30.0, float("inf"))
"""Candidates for the penalty on the square of what a test example's slope has of its own; infinite: one slope for all."""
TOLERANCE, ITERATIONS = 1e-9, 500


@dataclass(frozen=True, slots=True)
class Departures:
    """What a map is learned from: departures of the predicted loss, shares of the range, and where both are known."""

    departures: Float[np.ndarray, "run grid test"]
    shares: Float[np.ndarray, "run grid test"]
    known: Bool[np.ndarray, "run grid test"]

    @classmethod
    def of(cls, departures: Float[np.ndarray, "run grid test"], shares: Float[np.ndarray, "run grid test"]) -> Self:
        """NaN in either is not known."""
        known = np.isfinite(departures) & np.isfinite(shares)
        return cls(np.where(known, departures, 0.0), np.where(known, shares, 0.0), known)

    def of_runs(self, chosen: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " run"]) -> "Departures":
        """Those of some runs."""
        return Departures(self.departures[chosen], self.shares[chosen], self.known[chosen])

    def levels(self) -> Float[np.ndarray, "grid test"]:
        """The log-odds of each cell's mean share, of which nothing is known beside ``PRIOR_RUNS``."""
        total, count = self.shares.sum(axis=0) + PRIOR_RUNS / 2, self.known.sum(axis=0) + PRIOR_RUNS
        return np.asarray(np.log(total / (count - total)))


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A fitted map: ``levels`` [grid, test] and ``slopes`` [test]."""

    levels: Float[np.ndarray, "grid test"]
    slopes: Float[np.ndarray, " test"]

    def expected(self, departures: Float[np.ndarray, "run grid test"]) -> Float[np.ndarray, "run grid test"]:
        """Expected shares."""
        return _logistic(self.levels + self.slopes * departures)

    def steepness(self, shares: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """How much expected shares change for a small departure."""
        return np.asarray(shares * (1.0 - shares) * self.slopes)


def fit_map(cells: Departures, parts: Int[np.ndarray, " run"]) -> tuple[ScoreMap, Float[np.ndarray, "run grid test"]]:
    """Learn a map from runs of which each was predicted by others, and what it expects of runs left out.

    How much of a slope is a test example's own, or that there is none at all, is chosen by the squared error on these.

    Args:
        cells: departures and shares.
        parts: the number of the part that each run belongs to. Parts are left out one after another.
    """
    candidates: list[tuple[float, bool]] = [(penalty, True) for penalty in OWN_PENALTIES]
    candidates.append((float("inf"), False))
    best: tuple[float, Float[np.ndarray, "run grid test"]] | None = None
    chosen = candidates[-1]
    for candidate in candidates:
        expected = np.zeros_like(cells.shares)
        for part in np.unique(parts):
            out = parts == part
            levels, slopes = _solved(cells.of_runs(~out), *candidate)
            expected[out] = _logistic(levels + slopes * cells.departures[out])
        error = float(((cells.shares - expected) ** 2 * cells.known).sum())
        # Of equals the last, which has the least of its own.
        if best is None or error <= best[0] * (1.0 + 1e-9):
            best, chosen = (error, expected), candidate
    assert best is not None
    return ScoreMap(*_solved(cells, *chosen)), best[1]


def _logistic(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.exp(-np.logaddexp(0.0, -values)))


def _solved(
    cells: Departures, penalty: float, sloped: bool
) -> tuple[Float[np.ndarray, "grid test"], Float[np.ndarray, " test"]]:
    """The levels and slopes of greatest penalised quasi-likelihood, a convex problem."""
    start = cells.levels()
    tests = start.shape[1]
    size = float(np.sqrt((cells.departures**2).sum() / max(int(cells.known.sum()), 1)))
    if not sloped or size == 0.0:
        return start, np.zeros(tests)
    from scipy.optimize import minimize

    scaled = cells.departures / size
    own = tests if np.isfinite(penalty) else 0
    found = minimize(
        _objective,
        np.concatenate([start.ravel(), np.zeros(1 + own)]),
        args=(cells, scaled, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "ftol": TOLERANCE, "gtol": TOLERANCE},
    )
    levels, slopes = _unpacked(found.x, start.shape)
    return levels, slopes / size


def _unpacked(
    point: Float[np.ndarray, " unknown"], shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "grid test"], Float[np.ndarray, " test"]]:
    count = int(np.prod(shape))
    own: Any = point[count + 1 :] if len(point) > count + 1 else 0.0
    return point[:count].reshape(shape), point[count] + own + np.zeros(shape[1])


def _objective(
    point: Float[np.ndarray, " unknown"],
    cells: Departures,
    departures: Float[np.ndarray, "run grid test"],
    penalty: float,
) -> tuple[float, Float[np.ndarray, " unknown"]]:
    """The penalised negative quasi-log-likelihood and its gradient; departures are in units of their size."""
    shape = departures.shape[1:]
    levels, slopes = _unpacked(point, shape)
    count = levels.size
    values = levels + slopes * departures
    fitted, level_share = _logistic(values), _logistic(levels)
    value = float(((np.logaddexp(0.0, values) - cells.shares * values) * cells.known).sum())
    value += PRIOR_RUNS * float((np.logaddexp(0.0, levels) - 0.5 * levels).sum())
    value += 0.5 * SLOPE_PENALTY * float(point[count]) ** 2
    apart = (fitted - cells.shares) * cells.known
    along = (apart * departures).sum(axis=(0, 1))
    gradient = np.zeros_like(point)
    gradient[:count] = (apart.sum(axis=0) + PRIOR_RUNS * (level_share - 0.5)).ravel()
    gradient[count] = along.sum() + SLOPE_PENALTY * point[count]
    if len(point) > count + 1:
        own = point[count + 1 :]
        value += 0.5 * penalty * float(own @ own)
        gradient[count + 1 :] = along + penalty * own
    return value, gradient
