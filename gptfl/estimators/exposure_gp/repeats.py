"""Runs that repeat one another, with the same subset in another order: what they share, and what they tell."""

import numpy as np
from jaxtyping import Float, Int

NEAR = 0.1
"""The squared reach of the noise that runs share, in units of the mean squared distance between the exposures of two runs."""
CLOSE = 0.5
"""Repeats share at least so much of it: they saw the same examples about as often."""


def repeats_of(
    batches: Int[np.ndarray, "run step place"], exposures: Float[np.ndarray, "run example"]
) -> Int[np.ndarray, " run"]:
    """The first run that each run repeats, or itself: one of the same examples and nearly the same exposures to them.

    Batches hold -1 in empty places; exposures are those of whole runs.
    """
    unit = float(((exposures - exposures.mean(axis=0)) ** 2).sum()) / max(len(exposures) - 1, 1)
    close = near(exposures, exposures, unit or 1.0) >= CLOSE
    found: list[int] = []
    earlier: dict[bytes, list[int]] = {}
    for run, one in enumerate(batches):
        same_examples = earlier.setdefault(np.unique(one[one >= 0]).tobytes(), [])
        found.append(next((found[other] for other in same_examples if close[run, other]), run))
        same_examples.append(run)
    return np.array(found)


def first_of(groups: Int[np.ndarray, " run"]) -> Int[np.ndarray, " group"]:
    """The places of the runs that repeat no earlier one."""
    return np.sort(np.unique(groups, return_index=True)[1])


def averaging(groups: Int[np.ndarray, " run"]) -> Float[np.ndarray, "run run"]:
    """The projection that puts the mean of its group in each run's place."""
    same = groups[:, None] == groups[None]
    return np.asarray(same / same.sum(axis=1))


def near(
    ones: Float[np.ndarray, "one example"], others: Float[np.ndarray, "other example"], unit: float
) -> Float[np.ndarray, "one other"]:
    """How much of what their exposures leave unexplained two runs share: 1 at the same exposures, nothing far away.

    ``unit`` is half the mean squared distance between the exposures of two runs fitted.
    """
    squares = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * ones @ others.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2.0 * NEAR * 2.0 * unit)))
