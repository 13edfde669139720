"""What is left to chance: how well one could do who knew which examples a run saw, but not in which order.

Runs on one subset in different orders (repeats) end differently. The mean over orders is the best prediction that can
be made of the subset alone, and the variance around it is the least squared error of such a prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores.lds import centred
from gptfl.scores.pointwise import at_rows, counted, final_rows


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The order-noise ceiling of skill and of LDS (None where it can't be told).

    ``runs`` is how many repeats it is estimated from, of how many ``subsets``.
    """

    skill: float
    lds: float | None
    runs: int
    subsets: int


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
    rows = final_rows(recorded)
    truth = np.where(at_rows(counted(recorded), rows), at_rows(recorded, rows), np.nan)
    deviations = centred(truth, groups)
    told = []
    for test in range(deviations.shape[1]):
        known = np.isfinite(deviations[:, test])
        freedom = int(known.sum()) - len(np.unique(groups[known]))
        own = at_rows(noise, rows)[known, test]
        if freedom < 1 or not np.isfinite(own).all():
            continue
        total = float((deviations[known, test] ** 2).sum()) / freedom
        if total > 0:
            told.append(6 / np.pi * np.arcsin(np.sqrt(max(0.0, 1.0 - float(own.mean()) / total)) / 2))
    return float(np.mean(told)) if told else float("nan")
