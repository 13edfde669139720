"""What is left to chance: how well one could do who knew which examples a run saw, but not in which order.

Runs on one subset in different orders (repeats) end differently. The mean over orders is the best prediction that can
be made of the subset alone, and the variance around it is the least squared error of such a prediction.

A few repeats tell that variance roughly, and the squared error of mean-run is that of a few runs. ``Doubt`` holds draws
of both. Repeats of one subset are deviations from their mean, of which as many are independent as there are runs less
one a subset: draws mix them by normal numbers, which keeps how alike their points are, and the ratio to the estimate is
turned round, which for a single common factor gives the interval of chi-square. Where the subsets' own variances differ
by more than such draws would, they are spread out as much. ``benchmarks/intervals.py`` prints how often the intervals
hold the true value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import generator
from gptfl.scores import bootstrap
from gptfl.scores.lds import centred
from gptfl.scores.pointwise import at_rows, counted, final_rows
from gptfl.scores.sampling import Sampling

FEWEST_SUBSETS = 3
"""Of fewer subsets there is no telling whether their variances differ."""
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Draws of the logarithm of what the noise's share of mean-run's error may be, over what it was estimated at.

    ``share`` is that estimate, ``tests`` the noise's share of the variance of each test example's final value, where
    LDS has a ceiling.
    """

    logs: Float[np.ndarray, " draw"]
    share: float
    tests: Float[np.ndarray, " told"]

    def skill(self) -> Float[np.ndarray, " draw"]:
        """The ceiling of skill in each draw."""
        return np.asarray(1.0 - self.share * np.exp(self.logs))

    def lds(self) -> Float[np.ndarray, " draw"]:
        """The ceiling of LDS in each draw."""
        return np.asarray(rank_correlation(np.exp(self.logs)[:, None] * self.tests).mean(axis=1))

    def of_share(self, score: str, value: float, own: Float[np.ndarray, " draw"]) -> Bounds:
        """The interval of a share of a ceiling, from draws of the score under the same draws of runs.

        Where all may be noise, any score may be all that can be had: then the upper bound is infinite.
        """
        tops = self.skill() if score == "skill" else self.lds()
        least = np.where(own > 0, np.inf, -np.inf)
        drawn = np.where(tops > 0, own / np.where(tops > 0, tops, 1.0), least)
        return quantiles(drawn[np.isfinite(own)], value)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The order-noise ceiling of skill and of LDS (None where it can't be told), with 95 % intervals.

    ``runs`` is how many repeats it is estimated from, of how many ``subsets``.
    """

    skill: float
    lds: float | None
    runs: int
    subsets: int
    skill_interval: Bounds | None = None
    lds_interval: Bounds | None = None
    doubt: Doubt | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "skill": self.skill,
            "skill_interval": self.skill_interval and list(self.skill_interval),
            "lds": self.lds,
            "lds_interval": self.lds_interval and list(self.lds_interval),
            "runs": self.runs,
            "subsets": self.subsets,
        }


def rank_correlation(share: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Spearman's correlation of a value with what is left of it without noise, which is this share of its variance."""
    return np.asarray(6 / np.pi * np.arcsin(np.sqrt(np.clip(1.0 - share, 0.0, 1.0)) / 2))


def quantiles(draws: Float[np.ndarray, " draw"], value: float, level: float = bootstrap.LEVEL) -> Bounds:
    """The central interval of draws, widened to contain ``value``; a bound may be infinite."""
    # Of infinite draws there is nothing between two of them.
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return min(value, float(low)), max(value, float(high))


def order_noise(repeats: Sequence[Float[np.ndarray, "run recorded test"]]) -> Float[np.ndarray, "recorded test"]:
    """The variance over the orders of a subset, unbiased and pooled over subsets; NaN where it can't be told.

    Each array holds the repeats of one subset. NaN is not recorded and left out.
    """
    squares = np.zeros(repeats[0].shape[1:])
    freedom = np.zeros(repeats[0].shape[1:])
    for values in repeats:
        known = np.isfinite(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares += np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        freedom += np.maximum(count - 1, 0)
    return np.where(freedom > 0, squares / np.maximum(freedom, 1), np.nan)


def skill_ceiling(
    noise: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    mean_run: Float[np.ndarray, "run recorded test"],
) -> float:
    """The skill of a prediction whose squared error is the noise: 1 - sum of noise / SSE of mean-run.

    Points whose noise is not known are left out of both sums. NaN where nothing is left, or mean-run makes no error.
    """
    mask = counted(recorded) & np.isfinite(noise)
    reference = float(((mean_run[mask] - recorded[mask]) ** 2).sum())
    return 1.0 - float(noise[mask].sum()) / reference if reference > 0 else float("nan")


def lds_ceiling(
    noise: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    groups: Int[np.ndarray, " run"],
) -> float:
    """The LDS that a prediction free of error but for the noise would have, estimated from variances.

    For a test example whose final value varies over the runs of a group by the variance v, n of it noise, Pearson's
    correlation of truth and mean over orders is r = sqrt(1 - n / v). Between normal variables Spearman's is
    6 / pi * arcsin(r / 2). The mean over test examples; NaN where none varies.
    """
    shares = noise_shares(noise, recorded, groups)
    return float(rank_correlation(shares).mean()) if len(shares) else float("nan")


def noise_shares(
    noise: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    groups: Int[np.ndarray, " run"],
) -> Float[np.ndarray, " told"]:
    """The noise's share of the variance of final values within groups, of each test example for which it can be told."""
    rows = final_rows(recorded)
    truth = np.where(at_rows(counted(recorded), rows), at_rows(recorded, rows), np.nan)
    deviations = centred(truth, groups)
    shares = []
    for test in range(deviations.shape[1]):
        known = np.isfinite(deviations[:, test])
        freedom = int(known.sum()) - len(np.unique(groups[known]))
        own = at_rows(noise, rows)[known, test]
        if freedom < 1 or not np.isfinite(own).all():
            continue
        total = float((deviations[known, test] ** 2).sum()) / freedom
        if total > 0:
            shares.append(float(own.mean()) / total)
    return np.array(shares)


def noise_draws(
    repeats: Sequence[Float[np.ndarray, "run recorded test"]],
    weights: Float[np.ndarray, "recorded test"],
    seed: int,
    draws: int = bootstrap.DRAWS,
) -> Float[np.ndarray, " draw"]:
    """Draws of the logarithm of the true noise over the estimated one, summed over points.

    0 throughout where the estimate is 0.

    Args:
        repeats: of each subset, its runs in several orders; NaN is not recorded and left out.
        weights: of each recorded step and test example.
        seed: of the draws.
        draws: how many.
    """
    rows, sums = [], []
    for values in repeats:
        known = np.isfinite(values)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        rows.append(np.where(known, values - mean, 0.0) * np.sqrt(weights))
        sums.append(float((rows[-1] ** 2).sum()) / max(len(values) - 1, 1))
    each = np.concatenate(rows).reshape(sum(map(len, rows)), -1)
    gram = each @ each.T
    if not np.trace(gram) > 0:
        return np.zeros(draws)
    freedom = len(each) - len(rows)
    mixed = generator(seed, len(each)).normal(size=(draws, freedom, len(each)))
    # In expectation each of the independent rows has the mean square of all.
    ratio = np.einsum("dfi,ij,dfj->d", mixed, gram, mixed, optimize=True) / freedom / np.trace(gram)
    logs = np.log(np.maximum(ratio, np.finfo(float).tiny))
    if len(sums) >= FEWEST_SUBSETS:
        apart = float(np.var(sums, ddof=1)) / len(sums) / float(np.mean(sums)) ** 2
        logs = logs * np.sqrt(max(1.0, apart / float(ratio.var())))
    return np.asarray(-logs)


def doubt(
    noise: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    mean_run: Float[np.ndarray, "run recorded test"],
    sampling: Sampling,
    seed: int,
    logs: Float[np.ndarray, " draw"],
) -> Doubt | None:
    """What the ceilings may be; None where mean-run makes no error or nothing is noise.

    Args:
        noise: the variance of the noise at each point, as estimated.
        recorded: the held-out runs.
        mean_run: the mean of the runs fitted, for each of them.
        sampling: how held-out runs are drawn for scores.
        seed: of these draws.
        logs: draws of the estimate's own error, from ``noise_draws``.
    """
    mask = counted(recorded) & np.isfinite(noise)
    noises = np.where(mask, noise, 0.0).sum(axis=(1, 2))
    errors = (np.where(mask, mean_run - recorded, 0.0) ** 2).sum(axis=(1, 2))
    if not (noises.sum() > 0 and errors.sum() > 0):
        return None
    share = float(noises.sum() / errors.sum())
    weights = sampling.weights(seed, len(logs))
    drawn = weights @ errors
    moved = np.log(np.where(drawn > 0, weights @ noises, 1.0) / np.where(drawn > 0, drawn, 1.0)) - np.log(share)
    moved = np.where(drawn > 0, moved, 0.0)
    factor = bootstrap.widening(sampling.freedom("skill"))
    return Doubt(logs + factor * moved, share, noise_shares(noise, recorded, sampling.peers))
