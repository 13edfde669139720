"""Intervals by resampling runs.

Runs are resampled and never test examples, because the test examples of one run move together; so do runs that belong
together (``core.groups_of``), which are drawn as one. Every score is computed under the same draws, so that
differences between estimators are paired.

The spread of draws is that of a score with its sampling error, but for two things. Samples of few runs spread too
little, by the factor sqrt((n - 1) / n), and their quantiles are a normal variable's, not Student's: ``widening`` makes up
for both. And rank correlations are biased: a sample holds some runs twice, whose ties draw it towards Kendall's tau, as
the score itself is drawn below its true value by having few runs. Such a score's draws are reflected (basic bootstrap)
on the scale of Fisher's z. ``benchmarks/intervals.py`` prints how often intervals hold the true value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import generator

DRAWS = 2000
LEVEL = 0.95
METHOD = "bootstrap over groups of runs, widened for their number; LDS reflected on Fisher's z"
"""How intervals are made, for files; older ones, which don't say it, have percentiles of draws of single runs."""
UNPAIRED_METHOD = "bootstrap of either side apart, widened for their numbers (Welch)"
"""The same of ``unpaired_difference``."""
NEAREST = 1e-12
"""How near a score may come to its best value, where the scale of its intervals has no end."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where draws of a score spread evenly: to there and back, and whether they are reflected (see the module)."""

    to: Callable[[Float[np.ndarray, "..."]], Float[np.ndarray, "..."]]
    back: Callable[[Float[np.ndarray, "..."]], Float[np.ndarray, "..."]]
    reflected: bool = False


def _same(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return values


def _log_left(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.log(np.maximum(1.0 - values, NEAREST)))


PLAIN = Scale(_same, _same)
SHARE = Scale(_log_left, lambda values: 1.0 - np.exp(values))
"""Of a share that is explained, such as skill: the logarithm of what is left."""


def correlation(nearest: float = NEAREST) -> Scale:
    """Of rank correlations: Fisher's z, of which 1 is taken as ``nearest`` below."""

    def fisher(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.asarray(np.arctanh(np.clip(values, nearest - 1, 1 - nearest)))

    return Scale(fisher, np.tanh, reflected=True)


def scale_of(score: str, runs: int = 0, tests: int = 1) -> Scale:
    """The scale of a score's intervals; LDS's over so many runs, the mean over so many test examples.

    The next value below an LDS of 1 is lower by 12 / (n^3 - n) / tests. A perfect draw is taken to lie half as far
    from 1: without an end, a few such draws would reflect to -1.
    """
    if score == "lds":
        return correlation(6.0 / max(runs**3 - runs, 6) / max(tests, 1) if runs else NEAREST)
    return SHARE if score == "skill" else PLAIN


def draw_weights(
    runs: int, seed: int, draws: int = DRAWS, groups: Int[np.ndarray, " run"] | None = None
) -> Float[np.ndarray, "draw run"]:
    """How often each run is in each bootstrap sample of as many runs, or of as many groups of runs.

    Args:
        runs: how many runs.
        seed: of the draws.
        draws: how many samples.
        groups: the group of each run, whose runs are drawn together; None where each is drawn by itself.
    """
    numbers = np.arange(runs) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    units = int(numbers.max(initial=-1)) + 1
    counts = generator(seed, units).multinomial(units, np.full(units, 1.0 / units), size=draws)
    return counts.astype(np.float64)[:, numbers]


def freedom_of(groups: Int[np.ndarray, " run"], folds: Int[np.ndarray, " run"] | None = None) -> int:
    """The degrees of freedom of a score over runs: how many groups there are, less one.

    Values that are less their own mean over a fold have one less a fold; a fold of a single group keeps its one.
    """
    total = len(np.unique(groups))
    if folds is None:
        return total - 1
    own = [len(np.unique(groups[folds == fold])) for fold in np.unique(folds)]
    return min(total - 1, sum(max(1, count - 1) for count in own))


def widening(freedom: int, level: float = LEVEL) -> float:
    """By how much quantiles of draws are widened about the score; without freedom, without end."""
    from scipy.special import ndtri, stdtrit  # importing scores must stay cheap

    if freedom < 1:
        return float("inf")
    part = (1 + level) / 2
    return float(stdtrit(freedom, part) / ndtri(part) * np.sqrt((freedom + 1) / freedom))


def weighted_means(
    per_run: Float[np.ndarray, " run"], weights: Float[np.ndarray, "draw run"]
) -> Float[np.ndarray, " draw"]:
    """The mean over runs in each draw; runs that are NaN are left out, NaN where none is left."""
    known = np.isfinite(per_run)
    total = weights[:, known].sum(axis=1)
    sums = weights[:, known] @ per_run[known]
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)


def interval(
    value: float, draws: Float[np.ndarray, " draw"], freedom: int, scale: Scale = PLAIN, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of a score from its draws, which always contains ``value``.

    NaN where no draw is defined. Draws that are all the same have no spread: then both bounds are the value.

    Args:
        value: the score.
        draws: the score in each bootstrap sample; those undefined are left out.
        freedom: degrees of freedom of the draws, by which they are widened.
        scale: on which the draws are taken to be alike about the score.
        level: the share of the draws inside.
    """
    known = draws[np.isfinite(draws)]
    if len(known) == 0 or not np.isfinite(value):
        return float("nan"), float("nan")
    centre = scale.to(np.array([value]))[0]
    low, high = _bounds(scale.to(known) - centre, freedom, scale.reflected, level)
    if low == high == 0.0:
        return value, value
    with np.errstate(over="ignore"):
        ends = scale.back(np.array([centre + low, centre + high]))
    return min(value, float(ends.min())), max(value, float(ends.max()))


def true_draws(
    value: float, draws: Float[np.ndarray, " draw"], freedom: int, scale: Scale = PLAIN
) -> Float[np.ndarray, " draw"]:
    """Draws of what the true value may be: reflected and widened about the score, as its interval is.

    Args:
        value: the score.
        draws: the score in each bootstrap sample.
        freedom: degrees of freedom of the draws.
        scale: on which the draws are taken to be alike about the score.
    """
    centre = scale.to(np.array([value]))[0]
    moved = (-1.0 if scale.reflected else 1.0) * (scale.to(draws) - centre)
    return np.asarray(scale.back(centre + np.where(moved == 0, 0.0, widening(freedom)) * moved))


def difference(
    first: tuple[float, Float[np.ndarray, " draw"]],
    second: tuple[float, Float[np.ndarray, " draw"]],
    freedom: int,
    scale: Scale = PLAIN,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The interval of the difference of two scores under the same draws, on the scale: only its sign means something.

    Args:
        first: a score and its draws.
        second: the score that is subtracted, and its draws.
        freedom: degrees of freedom of the draws.
        scale: on which the difference is taken.
        level: the share of the draws inside.

    Returns NaN for both where no draw has both scores.
    """
    centres = [float(scale.to(np.array([value]))[0]) for value, _ in (first, second)]
    known = np.isfinite(first[1]) & np.isfinite(second[1])
    if not known.any() or not np.isfinite(centres).all():
        return float("nan"), float("nan")
    centre = centres[0] - centres[1]
    moved = scale.to(first[1][known]) - scale.to(second[1][known]) - centre
    low, high = _bounds(moved, freedom, scale.reflected, level)
    return min(centre, centre + low), max(centre, centre + high)


def _bounds(moved: Float[np.ndarray, " draw"], freedom: int, reflected: bool, level: float) -> tuple[float, float]:
    """The widened quantiles of how far draws lie from the score."""
    low, high = np.quantile(moved, [(1 - level) / 2, (1 + level) / 2])
    if reflected:
        low, high = -high, -low
    factor = widening(freedom, level)
    return (float(factor * low) if low else 0.0), (float(factor * high) if high else 0.0)


def skill_draws(
    errors: Float[np.ndarray, " run"], mean_run: Float[np.ndarray, " run"], weights: Float[np.ndarray, "draw run"]
) -> Float[np.ndarray, " draw"]:
    """Skill in each draw, from the sums of squared errors of each run."""
    reference = weights @ mean_run
    ratio = (weights @ errors) / np.where(reference > 0, reference, 1.0)
    return np.where(reference > 0, 1.0 - ratio, np.nan)


def unpaired_difference(
    first: Float[np.ndarray, " one"], second: Float[np.ndarray, " other"], seed: int, level: float = LEVEL
) -> tuple[float, tuple[float, float]]:
    """Mean of ``first`` less that of ``second`` and its bootstrap interval; the two are resampled apart.

    The degrees of freedom are Welch's, each side's mean spread out by its own number.

    Args:
        first: values of the one side.
        second: values of the other.
        seed: of the draws.
        level: the share of the draws inside.
    """
    sides = []
    for number, one in enumerate((first, second)):
        spread = np.sqrt(len(one) / (len(one) - 1)) if len(one) > 1 else 1.0
        sides.append(spread * (weighted_means(one, draw_weights(len(one), seed + number)) - one.mean()))
    parts = [float(np.var(one, ddof=1)) / len(one) if len(one) > 1 else 0.0 for one in (first, second)]
    mean = float(first.mean() - second.mean())
    if sum(parts) == 0:
        return mean, (mean, mean)
    squares = sum(part**2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True) if part > 0)
    freedom = max(1, int(sum(parts) ** 2 / squares))
    # The spread is made up for already: what is left is Student's quantile.
    factor = float(widening(freedom, level) * np.sqrt(freedom / (freedom + 1)))
    low, high = np.quantile(sides[0] - sides[1], [(1 - level) / 2, (1 + level) / 2])
    return mean, (mean + min(0.0, factor * float(low)), mean + max(0.0, factor * float(high)))


def is_clear(bounds: tuple[float, float]) -> bool:
    """Whether an interval excludes zero."""
    return bounds[0] > 0 or bounds[1] < 0
