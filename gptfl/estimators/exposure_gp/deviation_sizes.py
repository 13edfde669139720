"""How far each test example deviates across runs: by its own deviations, and by how long its gradient is.

Few runs hardly tell a test example's standard deviation, and it is drawn towards what its gradient's length and the slope of
the scale let expect. That is moderated variances with a trend, as Smyth (2004, Statistical Applications in Genetics and
Molecular Biology 3) has them for genes. How far lengths tell anything is itself told by the runs: the trend has a power.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

PRIOR_RUNS = 4.0
"""The relative sizes of the test examples' deviations count as if seen in this many runs beforehand."""
SPREAD_SIZE_POWER = 0.5
"""Standard deviation of the normal prior on the power of the relative sizes that are expected, whose mean is 1."""
LEAST = 1e-6
"""No size is taken to be expected that is less than this share of the greatest."""


def sizes_of(
    deviations: Float[np.ndarray, "run test"],
    known: Bool[np.ndarray, "run test"] | None,
    beforehand: Float[np.ndarray, " test"],
) -> tuple[Float[np.ndarray, " test"], float]:
    """The standard deviation of each test example across runs, drawn towards ``beforehand`` where runs are few.

    Beside it, how large it is for ``beforehand`` 1. Deviations that aren't ``known`` (None: all are) are 0.
    """
    freedom = _freedom(deviations, known)
    squares = (deviations**2).sum(axis=0)
    level = float(squares.sum() / max(int(freedom.sum()), 1))
    if level == 0.0:
        return np.ones(len(squares)), 0.0
    unit = level / max(float(np.mean(beforehand**2)), 1e-300)
    sizes = np.sqrt((PRIOR_RUNS * unit * beforehand**2 + squares) / (PRIOR_RUNS + freedom))
    return np.asarray(np.maximum(sizes, 1e-6 * np.sqrt(level))), float(np.sqrt(unit))


def size_power(
    steps: Sequence[tuple[Float[np.ndarray, "run test"], Bool[np.ndarray, "run test"] | None]],
    beforehand: Sequence[Float[np.ndarray, " test"]],
) -> float:
    """The likeliest power of the sizes expected, from 0, where they tell nothing, to 1, where deviations are in proportion.

    The likelihood is that of each test example's variance over runs, which has an F distribution about what is expected with
    ``PRIOR_RUNS`` degrees of freedom below; the mean over steps, each with a unit of its own. 1 where no step tells.

    Args:
        steps: deviations from the mean run and which are known (None: all), of some recorded steps.
        beforehand: the sizes expected at each.
    """
    from scipy.optimize import minimize  # takes as long to load as a simulation

    parts = []
    for (deviations, known), sizes in zip(steps, beforehand, strict=True):
        freedom = _freedom(deviations, known)
        squares, told = (deviations**2).sum(axis=0), freedom > 0
        if not squares[told].any() or not sizes.any() or np.ptp(sizes[told]) <= LEAST * sizes.max():
            continue
        variances = squares[told] / freedom[told]
        expected = np.log(np.maximum(sizes[told], LEAST * sizes.max()))
        # A deviation of nothing at all is one of rounding.
        parts.append((np.log(np.maximum(variances, 1e-12 * variances.max())), 2.0 * expected, freedom[told]))
    if not parts:
        return 1.0

    def cost(place: Float[np.ndarray, " parameter"]) -> tuple[float, Float[np.ndarray, " parameter"]]:
        total, slope = 0.0, np.zeros(len(place))
        for row, (logs, trend, freedom) in enumerate(parts):
            apart = logs - place[1 + row] - place[0] * trend
            ratio = freedom / PRIOR_RUNS * np.exp(np.minimum(apart, 500.0))
            total += float((0.5 * (freedom + PRIOR_RUNS) * np.log1p(ratio) - 0.5 * freedom * apart).sum())
            pull = 0.5 * (freedom + PRIOR_RUNS) * ratio / (1.0 + ratio) - 0.5 * freedom
            slope[0] -= float(pull @ trend)
            slope[1 + row] -= float(pull.sum())
        away = (place[0] - 1.0) / SPREAD_SIZE_POWER
        slope /= len(parts)
        slope[0] += away / SPREAD_SIZE_POWER
        return total / len(parts) + 0.5 * away**2, slope

    start = np.array([1.0, *(float(np.median(logs - trend)) for logs, trend, _ in parts)])
    bounds = [(0.0, 1.0), *((None, None) for _ in parts)]
    return float(minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x[0])


def _freedom(
    deviations: Float[np.ndarray, "run test"], known: Bool[np.ndarray, "run test"] | None
) -> Int[np.ndarray, " test"]:
    counts = np.full(deviations.shape[1], len(deviations)) if known is None else known.sum(axis=0)
    return np.asarray(np.maximum(counts - 1, 0))
