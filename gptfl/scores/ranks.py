"""Rank correlation by pairwise signs, which bootstrap weights enter as plain matrix products."""

import numpy as np
from jaxtyping import Float


def signs(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """sign(x_i - x_j). A NaN compares equal to everything, so that it moves no other value's rank."""
    return np.asarray(np.nan_to_num(np.sign(values[:, None] - values[None, :])))


def weighted_spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], weights: Float[np.ndarray, "n draw"]
) -> Float[np.ndarray, " draw"]:
    """Spearman's rho of samples that hold item i ``weights[i]`` times, ties sharing their mean rank.

    An item's mean rank, less the mean of all ranks, is half the weighted sum of its signs against
    the others: no sorting, and every draw of a bootstrap at once. NaN where either side is constant.
    """
    rank_x, rank_y = signs(x) @ weights, signs(y) @ weights
    covariance = (weights * rank_x * rank_y).sum(axis=0)
    scale = np.sqrt((weights * rank_x**2).sum(axis=0) * (weights * rank_y**2).sum(axis=0))
    return np.where(scale > 0, covariance / np.where(scale > 0, scale, 1.0), np.nan)


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Spearman's rho with ties at their mean rank; 0 where either side is constant."""
    return float(np.nan_to_num(weighted_spearman(x, y, np.ones((len(x), 1)))[0]))
