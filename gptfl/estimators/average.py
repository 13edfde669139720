"""The average recorded run, also of runs that were recorded at different steps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.errors import DataError


def resample(
    steps: Int[np.ndarray, " recorded"],
    values: Float[np.ndarray, "recorded test"],
    grid: Int[np.ndarray, " grid"],
) -> Float[np.ndarray, "grid test"]:
    """Recorded values brought to other steps, linearly between neighbours and NaN beyond the ends.

    NaN in ``values`` is not recorded: its neighbours are joined across it.
    """
    if len(steps) and np.isfinite(values).all():
        place = np.searchsorted(steps, grid).clip(max=len(steps) - 1)
        within = (grid >= steps[0]) & (grid <= steps[-1])
        # Mostly there is nothing to go between.
        if (steps[place] == grid)[within].all():
            return np.where(within[:, None], values[place].astype(np.float64), np.nan)
    result = np.full((len(grid), values.shape[1]), np.nan)
    for test in range(values.shape[1]):
        known = np.isfinite(values[:, test])
        if known.any():
            result[:, test] = np.interp(grid, steps[known], values[known, test], left=np.nan, right=np.nan)
    return result


def mean_over_runs(values: Float[np.ndarray, "run grid test"]) -> Float[np.ndarray, "grid test"]:
    """Mean over the runs that have a value; NaN where none has."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def average(
    steps: Sequence[Int[np.ndarray, " recorded"]], values: Sequence[Float[np.ndarray, "recorded test"]]
) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, "grid test"]]:
    """The mean trajectory of runs, on all the steps that any of them recorded.

    A run counts wherever a step lies within what it recorded. The grid is cut to where every test
    example is known, and is empty where that is nowhere.
    """
    grid = np.unique(np.concatenate(list(steps)))
    mean = mean_over_runs(np.stack([resample(s, v, grid) for s, v in zip(steps, values, strict=True)]))
    mean = resample(grid, mean, grid)
    span = known_span(mean)
    return grid[span], mean[span]


def known_span(values: Float[np.ndarray, "grid test"]) -> slice:
    """The rows between the first and the last at which every test example has a value.

    Empty where there is no such row.
    """
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


FLOPS = 3.0
"""Operations that interpolating one value takes."""


def interpolate(
    grid: Int[np.ndarray, " grid"],
    values: Float[np.ndarray, "grid ..."],
    steps: Int[np.ndarray, " recorded"] | Float[np.ndarray, " recorded"],
) -> Float[np.ndarray, "recorded ..."]:
    """``values`` at ``steps`` or places between them, linearly between the steps of the grid.

    Raises ``DataError`` where a step lies outside the grid: what lies there was never recorded.
    """
    for step in (int(step) for step in steps if not grid[0] <= step <= grid[-1]):
        raise DataError(
            f"step {step} is outside steps {int(grid[0])} to {int(grid[-1])}, where the average run is known",
            f"ask for at most {int(grid[-1])} steps, or record longer runs (gptfl collect --steps)",
        )
    left = np.clip(np.searchsorted(grid, steps, side="right") - 1, 0, max(0, len(grid) - 2))
    right = np.minimum(left + 1, len(grid) - 1)
    gap = np.maximum(grid[right] - grid[left], 1)
    weight = ((steps - grid[left]) / gap).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((1.0 - weight) * values[left] + weight * values[right])
