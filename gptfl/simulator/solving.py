"""What is known at one step after the runs fitted, with hyperparameters that all steps share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from gptfl.simulator.deviations import CENTRE_ALIKE, CENTRE_NOISE, PRIOR_RUNS, Hyper, Likeness, Step, middle, share_of
from gptfl.simulator.kriging import Columns, Posterior, Rows, columns, condition, cost, precision_of, rows_of

STRENGTH = 1.0
"""Standard deviation of the normal prior on the logarithm of a step's own ratio of signal to noise."""


def solve(step: Step, hyper: Hyper, likeness: Likeness) -> Posterior:
    """What is known at a step after the runs fitted, in units of its sizes.

    The weights are those of all steps; how strong the signal is beside the noise is each step's own, the likeliest
    with a prior around 1. Where runs lack values, it is the likeliest for what a strength of 1 expects of these.
    """
    rows: Rows = rows_of(np.tensordot(hyper.weights, step.covariances, 1))
    cols: Columns = columns(likeness.values, likeness.vectors, hyper.alike, hyper.shared)
    left = step.deviations - np.tensordot(hyper.scales, step.expected, 1)
    told = left
    if step.known is not None:
        gaps = condition(rows, cols, left, known=step.known).gaps
        told = left if gaps is None else gaps.filled(left)
    return condition(rows, cols, left, strength_of(rows, cols, told), step.known)


def whole(step: Step, likeness: Likeness, alike: bool, lack: bool = False) -> Step:
    """The step without values missing, to choose hyperparameters by.

    The runs that have every value; where these are fewer than half, all runs, with what hyperparameters at the middle
    of their priors expect of the values missing.
    """
    if step.known is None:
        return step
    complete = np.flatnonzero(step.known.all(axis=1))
    if len(complete) >= 2 and 2 * len(complete) >= len(step.members):
        return step.of_runs(complete)
    weights = np.exp(middle(len(step.covariances), lack))
    shares = (share_of(CENTRE_ALIKE), share_of(CENTRE_NOISE)) if alike else (0.0, 0.0)
    cols = columns(likeness.values, likeness.vectors, *shares)
    gaps = condition(rows_of(np.tensordot(weights, step.covariances, 1)), cols, step.deviations, known=step.known).gaps
    return replace(step, deviations=step.deviations if gaps is None else gaps.filled(step.deviations), known=None)


def strength_of(rows: Rows, cols: Columns, left: Float[np.ndarray, "run test"]) -> float:
    """The factor of the covariances between runs that makes these deviations likeliest."""
    if not left.any():
        return 1.0
    squares = (rows.vectors.T @ left @ cols.vectors) ** 2

    def told(place: float) -> float:
        precision = precision_of(rows, cols, float(np.exp(place)))
        found = cost(float((squares * precision).sum()), float(np.log(precision).sum()), *squares.shape)
        return float(found * squares.shape[1] + 0.5 * (place / STRENGTH) ** 2)

    return float(np.exp(minimize_scalar(told, bounds=(-5.0, 3.0), method="bounded", options={"xatol": 0.02}).x))


def floored(
    solved: Sequence[tuple[Step, Posterior]], steps: Int[np.ndarray, " recorded"]
) -> list[tuple[Step, Posterior]]:
    """The same, where steps at which runs happen not to differ get a spread: that no run will isn't known.

    It is the mean variance of the steps at which they do, as if that had been seen in ``PRIOR_RUNS`` runs beforehand.
    At step 0 no run has seen anything, and all are the same.
    """
    moving = [(step, posterior) for step, posterior in solved if step.reference > 0.0]
    if not moving or len(moving) == len(solved):
        return list(solved)
    variance = np.mean([posterior.variance * step.size**2 for step, posterior in moving], axis=0)
    reference = float(np.mean([posterior.variance * step.reference**2 for step, posterior in moving]))
    found = []
    for at, (step, posterior) in zip(steps, solved, strict=True):
        if step.reference > 0.0 or at == 0:
            found.append((step, posterior))
            continue
        share = PRIOR_RUNS / (PRIOR_RUNS + len(step.members) - 1)
        sizes = replace(step, size=np.sqrt(share * variance), reference=float(np.sqrt(share * reference)))
        found.append((sizes, replace(posterior, variance=1.0)))
    return found
