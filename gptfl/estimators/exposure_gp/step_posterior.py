"""What is known at one step after the runs fitted, with hyperparameters that all steps share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.deviation_sizes import PRIOR_RUNS
from gptfl.estimators.exposure_gp.hyperparameters import (
    CENTRE_LACK,
    CENTRE_NOISE,
    CENTRE_SIMILARITY,
    REACH,
    SPREAD,
    Hyper,
    evidence_of,
    middle,
    share_of,
)
from gptfl.estimators.exposure_gp.inference import (
    Columns,
    Posterior,
    Rows,
    columns,
    condition,
    cost,
    precision_of,
    rows_of,
)
from gptfl.estimators.exposure_gp.likelihood import weigh
from gptfl.estimators.exposure_gp.own_products import OwnProducts
from gptfl.estimators.exposure_gp.process import Step
from gptfl.estimators.exposure_gp.repeats import Effect, averaging, squares_of
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel

STRENGTH = 1.0
"""Standard deviation of the normal prior on the logarithm of a step's own ratio of signal to noise."""


def solve(step: Step, hyper: Hyper, kernel: SimilarityKernel, strength: float | None = None) -> Posterior:
    """What is known at a step after the runs fitted, in units of its sizes.

    The weights are those of all steps; how strong the signal is beside the noise is each step's own. Where runs lack
    values,
    it is the likeliest for what a strength of 1 expects of these.

    Args:
        step: the runs fitted at it.
        hyper: hyperparameters, the same at all steps.
        kernel: the similarity of test examples.
        strength: of the signal; None for the likeliest, with a prior around 1.
    """
    rows: Rows = rows_of(np.tensordot(hyper.weights, step.covariances, 1), step.noise(hyper.lack), step.groups)
    cols: Columns = columns(kernel.values, kernel.vectors, hyper.similarity_share, hyper.shared)
    left = step.deviations - np.tensordot(hyper.scales, step.expected, 1)
    complete = left
    if step.known is not None:
        gaps = condition(rows, cols, left, known=step.known).gaps
        complete = left if gaps is None else gaps.filled(left)
    return condition(rows, cols, left, strength_of(rows, cols, complete) if strength is None else strength, step.known)


def whole(step: Step, kernel: SimilarityKernel, has_vectors: bool) -> Step:
    """The step without values missing, to choose hyperparameters by.

    The runs that have every value; where these are fewer than half, all runs, with what hyperparameters at the middle
    of their priors expect of the values missing.
    """
    if step.known is None:
        return step
    complete = np.flatnonzero(step.known.all(axis=1))
    if len(complete) >= 2 and 2 * len(complete) >= len(step.members):
        return step.of_runs(complete)
    weights = np.exp(middle(len(step.covariances)))
    shares = (share_of(CENTRE_SIMILARITY), share_of(CENTRE_NOISE)) if has_vectors else (0.0, 0.0)
    cols = columns(kernel.values, kernel.vectors, *shares)
    rows = rows_of(np.tensordot(weights, step.covariances, 1), step.noise(share_of(CENTRE_LACK)), step.groups)
    gaps = condition(rows, cols, step.deviations, known=step.known).gaps
    return replace(step, deviations=step.deviations if gaps is None else gaps.filled(step.deviations), known=None)


def shared_noise(steps: Sequence[Step], strengths: Sequence[float], hyper: Hyper, kernel: SimilarityKernel) -> float:
    """The likeliest share of the noise that runs of the same exposures have in common, all else as it is.

    What repeats differ by is noise here, whatever it may owe to their orders. ``strengths`` are those of each step's
    signal. The share's log-odds have a normal prior.

    Args:
        steps: the runs fitted at each recorded step.
        hyper: the other hyperparameters, which stay.
        kernel: the similarity of test examples.
        strengths: of each step's signal.
    """
    from scipy.optimize import minimize_scalar  # takes as long to load as a simulation

    means = [np.eye(len(step.members)) if step.groups is None else averaging(step.groups) for step in steps]
    steps = [replace(step, covariances=mean @ step.covariances @ mean) for step, mean in zip(steps, means, strict=True)]
    evidence = [evidence_of(step, kernel) for step in steps]
    evidence = [
        replace(one, covariances=strength * one.covariances) for one, strength in zip(evidence, strengths, strict=True)
    ]
    cols = columns(kernel.values, kernel.vectors, hyper.similarity_share, hyper.shared)

    def cost_of(odds: float) -> float:
        found = weigh(evidence, hyper.weights, cols.signal, cols.noise, share_of(odds)).cost
        return float(found + 0.5 * ((odds - CENTRE_LACK) / SPREAD) ** 2)

    bounds = (CENTRE_LACK - REACH, CENTRE_LACK + REACH)
    return share_of(float(minimize_scalar(cost_of, bounds=bounds, method="bounded", options={"xatol": 0.01}).x))


def covariances(
    step: Step,
    weights: Float[np.ndarray, " source"],
    requested: Sequence[Effect],
    fitted: Sequence[Effect],
) -> tuple[Float[np.ndarray, "asked run"], Float[np.ndarray, " asked"]]:
    """Covariances of requested and fitted runs, and the variances of requested ones, from where they have come to.

    Args:
        step: the runs fitted at it.
        weights: how much each source of effects counts.
        requested: the states of the requested runs in each source.
        fitted: the states of all recorded runs in each source.
    """
    count = len(squares_of(requested[0]))
    cross, variances = np.zeros((count, len(step.members))), np.zeros(count)
    for weight, unit, theirs, everyone in zip(weights, step.units, requested, fitted, strict=True):
        if isinstance(theirs, OwnProducts):
            assert isinstance(everyone, OwnProducts)  # both come from one source
            one, square = theirs.of(np.arange(count), step.members).against(everyone.of(step.members, step.members))
            cross += weight / unit * one
            variances += weight / unit * square
            continue
        assert not isinstance(everyone, OwnProducts)
        ours = everyone[step.members]
        centre = ours.mean(axis=0)
        cross += weight / unit * ((theirs - centre) @ (ours - centre).T)
        variances += weight / unit * ((theirs - centre) ** 2).sum(axis=1)
    return cross, variances


def strength_of(rows: Rows, cols: Columns, left: Float[np.ndarray, "run test"]) -> float:
    """The factor of the covariances between runs that makes these deviations likeliest."""
    from scipy.optimize import minimize_scalar  # takes as long to load as a simulation

    if not left.any():
        return 1.0
    squares = (rows.vectors.T @ left @ cols.vectors) ** 2

    def cost_of(place: float) -> float:
        precision = precision_of(rows, cols, float(np.exp(place)))
        found = cost(float((squares * precision).sum()), float(np.log(precision).sum()), *squares.shape)
        return float(found * squares.shape[1] + 0.5 * (place / STRENGTH) ** 2)

    return float(np.exp(minimize_scalar(cost_of, bounds=(-5.0, 3.0), method="bounded", options={"xatol": 0.02}).x))


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
