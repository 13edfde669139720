"""Intervals by resampling runs.

Runs are resampled and never test examples, because the test examples of one run move together.
Every score is computed under the same draws, so that differences between estimators are paired.
"""

import numpy as np
from jaxtyping import Float

from gptfl.curricula import generator

DRAWS = 2000
LEVEL = 0.95


def draw_weights(runs: int, seed: int, draws: int = DRAWS) -> Float[np.ndarray, "draw run"]:
    """How often each run is in each bootstrap sample of as many runs; each row sums to ``runs``."""
    counts = generator(seed, runs).multinomial(runs, np.full(runs, 1.0 / runs), size=draws)
    return counts.astype(np.float64)


def weighted_means(
    per_run: Float[np.ndarray, " run"], weights: Float[np.ndarray, "draw run"]
) -> Float[np.ndarray, " draw"]:
    """The mean over runs in each draw; runs that are NaN are left out, NaN where none is left."""
    known = np.isfinite(per_run)
    total = weights[:, known].sum(axis=1)
    sums = weights[:, known] @ per_run[known]
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)


def interval(draws: Float[np.ndarray, " draw"], level: float = LEVEL) -> tuple[float, float]:
    """The central interval of the draws (percentile bootstrap); undefined draws are left out."""
    known = draws[np.isfinite(draws)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def skill_draws(
    errors: Float[np.ndarray, " run"], mean_run: Float[np.ndarray, " run"], weights: Float[np.ndarray, "draw run"]
) -> Float[np.ndarray, " draw"]:
    """Skill in each draw, from the sums of squared errors of each run."""
    reference = weights @ mean_run
    ratio = (weights @ errors) / np.where(reference > 0, reference, 1.0)
    return np.where(reference > 0, 1.0 - ratio, np.nan)


def paired_difference(
    first: Float[np.ndarray, " run"],
    second: Float[np.ndarray, " run"],
    weights: Float[np.ndarray, "draw run"],
    level: float = LEVEL,
) -> tuple[float, tuple[float, float]]:
    """Mean over runs of ``first - second`` (such as squared errors) and its bootstrap interval."""
    difference = first - second
    known = difference[np.isfinite(difference)]
    mean = float(known.mean()) if len(known) else float("nan")
    return mean, interval(weighted_means(difference, weights), level)


def unpaired_difference(
    first: Float[np.ndarray, " one"], second: Float[np.ndarray, " other"], seed: int, level: float = LEVEL
) -> tuple[float, tuple[float, float]]:
    """Mean of ``first`` less that of ``second`` and its bootstrap interval; the two are resampled apart."""
    means = [weighted_means(one, draw_weights(len(one), seed + side)) for side, one in enumerate((first, second))]
    return float(first.mean() - second.mean()), interval(means[0] - means[1], level)


def is_clear(bounds: tuple[float, float]) -> bool:
    """Whether an interval excludes zero."""
    return bounds[0] > 0 or bounds[1] < 0
