"""Scores that compare predicted and recorded values point by point, one number a run.

Everywhere ``predicted`` and ``recorded`` are [run, recorded, test] arrays whose first row is the
given point, which no score counts. NaN in ``recorded`` means not recorded and is left out; a run
with fewer recorded steps than the longest is padded with NaN.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.scores.ranks import spearman


def counted(recorded: Float[np.ndarray, "run recorded test"]) -> Bool[np.ndarray, "run recorded test"]:
    """Which values a score counts: every recorded one but those of the given first point."""
    mask = np.asarray(np.isfinite(recorded))
    mask[:, :1] = False
    return mask


def final_rows(recorded: Float[np.ndarray, "run recorded test"]) -> Int[np.ndarray, " run"]:
    """The last row of each run that holds a recorded value; 0 where there is none."""
    rows = np.arange(recorded.shape[1])
    return np.asarray(np.where(np.any(counted(recorded), axis=2), rows, 0).max(axis=1))


def at_rows(
    values: Float[np.ndarray, "run recorded test"], rows: Int[np.ndarray, " run"]
) -> Float[np.ndarray, "run test"]:
    """One row of each run."""
    return np.asarray(values[np.arange(len(values)), rows])


def _mean_over_steps_then_tests(
    values: Float[np.ndarray, "run recorded test"], mask: Bool[np.ndarray, "run recorded test"]
) -> Float[np.ndarray, " run"]:
    steps = mask.sum(axis=1)
    per_test = np.where(mask, values, 0.0).sum(axis=1) / np.maximum(steps, 1)
    tests = (steps > 0).sum(axis=1)
    return np.where(tests > 0, per_test.sum(axis=1) / np.maximum(tests, 1), np.nan)


def all_steps_mse(
    predicted: Float[np.ndarray, "run recorded test"], recorded: Float[np.ndarray, "run recorded test"]
) -> Float[np.ndarray, " run"]:
    """Mean squared error of each run: over its steps, then over test examples (the paper's).

    NaN for a run in which nothing was recorded after the first point.
    """
    return _mean_over_steps_then_tests((predicted - recorded) ** 2, counted(recorded))


def all_steps_mae(
    predicted: Float[np.ndarray, "run recorded test"], recorded: Float[np.ndarray, "run recorded test"]
) -> Float[np.ndarray, " run"]:
    """Mean absolute error of each run: over its steps, then over test examples (the paper's)."""
    return _mean_over_steps_then_tests(np.abs(predicted - recorded), counted(recorded))


def final_spearman(
    predicted: Float[np.ndarray, "run recorded test"], recorded: Float[np.ndarray, "run recorded test"]
) -> Float[np.ndarray, " run"]:
    """Spearman's rank correlation across test examples at each run's last recorded step (the paper's).

    0 where either side is constant.
    """
    rows = final_rows(recorded)
    known = at_rows(counted(recorded), rows)
    ours, truth = at_rows(predicted, rows), at_rows(recorded, rows)
    return np.array([spearman(p[k], t[k]) for p, t, k in zip(ours, truth, known, strict=True)])


def squared_errors(
    predicted: Float[np.ndarray, "run recorded test"], recorded: Float[np.ndarray, "run recorded test"]
) -> Float[np.ndarray, " run"]:
    """Sum of squared errors of each run over all its steps and test examples."""
    mask = counted(recorded)
    errors = np.where(mask, predicted - recorded, 0.0)
    return np.asarray(np.einsum("rst,rst->r", errors, errors))


def skill(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    mean_run: Float[np.ndarray, "run recorded test"],
) -> float:
    """The share of mean-run's squared error that a prediction removes: 1 - SSE / SSE(mean-run).

    1 is perfect, 0 no better than repeating the average run, negative worse. NaN where mean-run
    itself makes no error.
    """
    reference = squared_errors(mean_run, recorded).sum()
    if reference == 0:
        return float("nan")
    return float(1.0 - squared_errors(predicted, recorded).sum() / reference)


def skill_by_step(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    mean_run: Float[np.ndarray, "run recorded test"],
    steps: Int[np.ndarray, "run recorded"],
) -> dict[int, float]:
    """Skill at each step after the first, over the runs that recorded it; a step at which mean-run is right is left out.

    All of it together says most of the steps at which runs differ most, which may be those at which losses collapse.

    Args:
        predicted: trajectories.
        recorded: the held-out runs, NaN where not recorded.
        mean_run: the mean of the runs fitted, for each of them.
        steps: the step of each recorded point, negative where a run has none.
    """
    mask = counted(recorded)
    ours, reference = (np.where(mask, one - recorded, 0.0) ** 2 for one in (predicted, mean_run))
    sums = {int(step): (ours[steps == step].sum(), reference[steps == step].sum()) for step in np.unique(steps[:, 1:])}
    return {step: float(1.0 - own / least) for step, (own, least) in sums.items() if step >= 0 and least > 0}


def mean_over_parts(parts: Sequence[Float[np.ndarray, " run"]]) -> Float[np.ndarray, " run"]:
    """The mean over parts of the test set of each run's score; parts that are NaN are left out, NaN where all are."""
    values = np.stack(parts)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def mean_and_std(per_run: Float[np.ndarray, " run"]) -> tuple[float, float]:
    """Mean over runs and the sample standard deviation (NaN for one run); NaN runs are left out."""
    values = per_run[np.isfinite(per_run)]
    if len(values) == 0:
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")
