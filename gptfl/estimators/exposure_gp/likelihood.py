"""How likely hyperparameters make the deviations of runs, and which way makes them likelier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp.inference import cost, whitening

ROUNDS = 5
"""How often the scales are fitted anew with the variances that they leave."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One step, orthogonal to the mean of its runs: what to tell likelihoods from.

    ``parts`` are the deviations and each expectation of them, along the eigenvectors of the test examples' likeness.
    ``near`` is the correlation of the noise that runs share, None where they share none.
    """

    covariances: Float[np.ndarray, "source row row"]
    parts: Float[np.ndarray, "part row column"]
    near: Float[np.ndarray, "row row"] | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """Minus the log-likelihood, the mean over steps; its slopes; and the scales of the expectations."""

    cost: float
    weights: Float[np.ndarray, " source"]
    signal: Float[np.ndarray, " column"]
    noise: Float[np.ndarray, " column"]
    scales: Float[np.ndarray, " expected"]
    lack: float = 0.0


def weigh(
    steps: Sequence[Evidence],
    weights: Float[np.ndarray, " source"],
    signal: Float[np.ndarray, " column"],
    noise: Float[np.ndarray, " column"],
    lack: float = 0.0,
) -> Weighed:
    """The likelihood of covariances ``sum_k weights_k G_k ⊗ diag(signal) + M ⊗ diag(noise)`` at each step, and its slopes.

    ``M = (1 - lack) I + lack near`` is the correlation of runs' noise, the identity where nothing is ``near``.
    The variance of each step is the likeliest one, and so are the non-negative scales of what was expected, the same
    at all steps; therefore the slopes are those with variances and scales held.

    Args:
        steps: the runs fitted at each recorded step, turned into the eigenbasis of the test examples' covariance.
        weights: of each source of covariance ``G_k``.
        signal: eigenvalues of the covariance of test examples.
        noise: the same of the noise.
        lack: the share of the noise that runs of the same exposures have in common.
    """
    turned, spectra = [], []
    volumes = []
    for step in steps:
        covariance, white, volume = weighted_sum(weights, step.covariances), None, 0.0
        if step.near is not None:
            white, volume = whitening((1.0 - lack) * np.eye(len(covariance)) + lack * step.near)
            covariance = white.T @ covariance @ white
        values, vectors = np.linalg.eigh(covariance)
        vectors = vectors if white is None else white @ vectors
        volumes.append(volume)
        turned.append(vectors.T @ step.parts)
        spectra.append((np.maximum(values, 0.0), vectors))
    precisions = [1.0 / (values[:, None] * signal + noise) for values, _ in spectra]
    products = []
    for parts, precision in zip(turned, precisions, strict=True):
        flat = (parts * np.sqrt(precision)).reshape(len(parts), -1)
        products.append(flat @ flat.T)
    scales = likeliest(np.stack(products))
    signs = np.append(1.0, -scales)
    total, by_lack = 0.0, 0.0
    by_weight, by_signal, by_noise = np.zeros(len(weights)), np.zeros(len(signal)), np.zeros(len(noise))
    for step, parts, (values, vectors), precision, product, volume in zip(
        steps, turned, spectra, precisions, products, volumes, strict=True
    ):
        rows, outputs = precision.shape
        squares = float(signs @ product @ signs)
        total += cost(squares, float(np.log(precision).sum()) - outputs * volume, rows, outputs) * outputs
        pulled = weighted_sum(signs, parts) * precision
        share = rows * outputs / max(squares, 1e-300)
        explained = share * (pulled * signal) @ pulled.T - np.diag(precision @ signal)
        by_weight -= 0.5 * products_with(step.covariances, vectors @ explained @ vectors.T)
        if step.near is not None:
            unexplained = share * (pulled * noise) @ pulled.T - np.diag(precision @ noise)
            more = step.near - np.eye(rows)
            by_lack -= 0.5 * float(products_with(more[None], vectors @ unexplained @ vectors.T)[0])
        surplus = share * pulled**2 - precision
        by_signal -= 0.5 * values @ surplus
        by_noise -= 0.5 * surplus.sum(axis=0)
    count = len(steps)
    return Weighed(total / count, by_weight / count, by_signal / count, by_noise / count, scales, by_lack / count)


def weighted_sum(
    weights: Float[np.ndarray, " one"], arrays: Float[np.ndarray, "one row column"]
) -> Float[np.ndarray, "row column"]:
    """The sum of arrays, each times its weight: ``np.tensordot``, whose preparations take longer than these sums."""
    return np.asarray(np.dot(weights[None], arrays.reshape(len(arrays), -1)).reshape(arrays.shape[1:]))


def products_with(
    arrays: Float[np.ndarray, "one row column"], other: Float[np.ndarray, "row column"]
) -> Float[np.ndarray, " one"]:
    """The sum over each array's elements times the other's."""
    return np.asarray(np.dot(arrays.reshape(len(arrays), -1), other.reshape(-1, 1))[:, 0])


def likeliest(products: Float[np.ndarray, "step part part"]) -> Float[np.ndarray, " expected"]:
    """Non-negative scales of the expectations that make the deviations likeliest.

    ``products`` are those of the deviations and each expectation with one another, in units of the covariance: the
    normal equations. Each step counts by the variance that is left there.
    """
    scales = np.zeros(products.shape[1] - 1)
    if not len(scales):
        return scales
    for _ in range(ROUNDS):
        signs = np.append(1.0, -scales)
        left = np.einsum("i,tij,j->t", signs, products, signs)
        together = weighted_sum(1.0 / np.maximum(left, 1e-9 * left.max() + 1e-300), products)
        scales = least_squares(together)
    return scales


def least_squares(products: Float[np.ndarray, "part part"]) -> Float[np.ndarray, " expected"]:
    """Non-negative least squares of the first part on the others, from their products with one another."""
    # What was expected of all runs alike says nothing of how they differ.
    unit = np.sqrt(np.diag(products)[1:])
    unit = np.where(unit > 0, unit, np.inf)
    if len(unit) == 1:  # the usual case, and this is asked at every step of the search
        ratio = np.maximum(products[1:, 0] / unit, 0.0) / (products[1, 1] / unit[0] ** 2 + 1e-9)
        return np.asarray(ratio / unit)
    from scipy.optimize import nnls  # takes as long to load as a simulation

    gram = products[1:, 1:] / unit[:, None] / unit[None]
    root = np.linalg.cholesky(gram + 1e-9 * len(gram) * np.eye(len(gram)))
    return np.asarray(nnls(root.T, np.linalg.solve(root, products[1:, 0] / unit))[0] / unit)
