"""Means of runs at each recorded step, and how far runs differ there; NaN is a value that a run lacks."""

import numpy as np
from jaxtyping import Float

from gptfl.estimators.average import mean_over_runs
from gptfl.estimators.exposure_gp.process import STEPS


def means(values: Float[np.ndarray, "run recorded test"]) -> Float[np.ndarray, "recorded test"]:
    """The mean over the runs that have a value; where none has, between those of the neighbouring steps."""
    mean = mean_over_runs(values)
    for test in np.flatnonzero(~np.isfinite(mean).all(axis=0)):
        there = np.flatnonzero(np.isfinite(mean[:, test]))
        if len(there):
            mean[:, test] = np.interp(np.arange(len(mean)), there, mean[there, test])
    return mean


def rows_that_move(steps: int, values: Float[np.ndarray, "run recorded test"]) -> list[int]:
    """Rows to choose hyperparameters on: those where runs differ, or as many of these as are enough."""
    # The mean of equal numbers is not always that number.
    least = 1e-12 * float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    moving = np.flatnonzero(spread_of(values) > least)
    if not len(moving):
        return [steps - 1]
    places = np.linspace(0, len(moving) - 1, min(STEPS, len(moving)) + 1).round().astype(int)[1:]
    return sorted({int(moving[place]) for place in places} | {int(moving[-1])})


def spread_of(values: Float[np.ndarray, "run recorded test"]) -> Float[np.ndarray, " recorded"]:
    """How far runs differ at each step: the mean over test examples of the standard deviation over those that have it."""
    known = np.isfinite(values)
    apart = np.where(known, values - mean_over_runs(values), 0.0)
    return np.asarray(np.sqrt((apart**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1)).mean(axis=1))
