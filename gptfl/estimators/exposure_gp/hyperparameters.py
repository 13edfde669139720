"""The hyperparameters of the process, and how the likeliest are found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp.inference import columns, contrasts
from gptfl.estimators.exposure_gp.likelihood import Evidence, Weighed, weigh
from gptfl.estimators.exposure_gp.process import Step
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel, spectrum

SPREAD = 1.5
"""Standard deviation of the normal prior on each hyperparameter, which are logarithms and log-odds."""
CENTRE_OWN, CENTRE_SHARED, CENTRE_NOISE, CENTRE_SIMILARITY, CENTRE_LACK = -1.0, 1.5, 1.5, 1.0, 0.0
"""Its means: the weight of each example's own effect, of each shared one, of noise that is alike, of likeness, and of the
noise that runs of nearly the same exposures share."""
SPREAD_POWER = 0.5
"""Standard deviation of the normal prior on the logarithm of the power of the likeness's spectrum, whose mean is 0."""
REACH = 9.0
"""How far from its mean a hyperparameter is looked for."""
MOST_POWER = 5.0
"""No fit comes to a greater power of the spectrum, or one below the inverse."""


@dataclass(frozen=True, slots=True)
class Hyper:
    """Weights of the covariances between runs (own effects first), likeness of signals and noise, prior's scales.

    ``scale_factors`` are by how much more or less than that each test example answers to what is expected of it. ``lack`` is
    the share of the noise that runs of the same exposures have in common. ``power`` is that of the spectrum of the test
    examples' likeness, ``size_power`` that of the sizes expected of their deviations.
    """

    weights: Float[np.ndarray, " source"]
    similarity_share: float
    shared: float
    scales: Float[np.ndarray, " expected"]
    factors: Float[np.ndarray, " test"]
    lack: float = 0.0
    power: float = 1.0
    size_power: float = 1.0


def middle(sources: int) -> Float[np.ndarray, " source"]:
    """The priors' means of the logarithms of the weights."""
    centre = np.full(sources, CENTRE_SHARED)
    centre[0] = CENTRE_OWN
    return centre


def choose(steps: Sequence[Step], kernel: SimilarityKernel, has_vectors: bool) -> tuple[Hyper, float]:
    """The hyperparameters of the greatest posterior density, and minus its logarithm.

    The restricted marginal likelihood of the runs fitted, averaged over the steps, times normal priors; the scales
    of the expectations are fitted along with each candidate (non-negative generalised least squares). No value
    may be missing (see ``step_posterior.whole``).
    """
    from scipy.optimize import minimize  # takes as long to load as a simulation

    search = _Search(steps, kernel, has_vectors)
    best = minimize(search.cost, search.centre, jac=True, method="L-BFGS-B", bounds=search.bounds)
    return search.hyper(best.x, search.weighed(best.x)[0].scales), float(best.fun)


class _Search:
    """Places of hyperparameters, as logarithms and log-odds, and what each place costs."""

    def __init__(self, steps: Sequence[Step], kernel: SimilarityKernel, has_vectors: bool) -> None:
        self.kernel, self.has_vectors = kernel, has_vectors
        self.sources = len(steps[0].covariances)
        self.lack = steps[0].near is not None
        self.evidence = [evidence_of(step, kernel) for step in steps]
        shares = [CENTRE_NOISE, CENTRE_SIMILARITY, 0.0] if has_vectors else []
        self.centre = np.append(middle(self.sources), shares + [CENTRE_LACK] * self.lack)
        self.spread = np.full(len(self.centre), SPREAD)
        if has_vectors:
            self.spread[self.sources + 2] = SPREAD_POWER

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """How far each is looked for."""
        reach = np.full(len(self.centre), REACH)
        if self.has_vectors:
            reach[self.sources + 2] = np.log(MOST_POWER)
        return list(zip(self.centre - reach, self.centre + reach, strict=True))

    def hyper(self, place: Float[np.ndarray, " parameter"], scales: Float[np.ndarray, " expected"]) -> Hyper:
        """The hyperparameters at a place."""
        shared, alike, power = 0.0, 0.0, 1.0
        if self.has_vectors:
            shared, alike = share_of(place[self.sources]), share_of(place[self.sources + 1])
            power = float(np.exp(place[self.sources + 2]))
        near = share_of(place[-1]) if self.lack else 0.0
        return Hyper(np.exp(place[: self.sources]), alike, shared, scales, np.ones(len(self.kernel.sizes)), near, power)

    def weighed(self, place: Float[np.ndarray, " parameter"]) -> tuple[Weighed, Float[np.ndarray, " column"]]:
        """How likely the deviations are there, and the eigenvalues of the likeness."""
        given = self.hyper(place, np.zeros(0))
        values = spectrum(self.kernel.values, given.power)
        cols = columns(values, self.kernel.vectors, given.similarity_share, given.shared)
        return weigh(self.evidence, given.weights, cols.signal, cols.noise, given.lack), values

    def cost(self, place: Float[np.ndarray, " parameter"]) -> tuple[float, Float[np.ndarray, " parameter"]]:
        """Minus the logarithm of the posterior density, and its slopes."""
        (found, values), given = self.weighed(place), self.hyper(place, np.zeros(0))
        slope = found.weights * given.weights
        if self.has_vectors:
            alike, shared = given.similarity_share, given.shared
            by_signal = found.signal + shared * found.noise
            by_shared = alike * (values - 1.0) @ found.noise * shared * (1.0 - shared)
            by_alike = (values - 1.0) @ by_signal * alike * (1.0 - alike)
            # The sum of the eigenvalues stays, whatever the power.
            logs = np.log(np.maximum(self.kernel.values, 1e-300))
            logs = logs - float(values @ logs) / max(float(values.sum()), 1e-300)
            by_power = alike * (values * logs) @ by_signal * given.power
            slope = np.append(slope, [by_shared, by_alike, by_power])
        if self.lack:
            slope = np.append(slope, found.lack * given.lack * (1.0 - given.lack))
        away = (place - self.centre) / self.spread
        return float(found.cost + 0.5 * (away**2).sum()), slope + away / self.spread


def evidence_of(step: Step, kernel: SimilarityKernel) -> Evidence:
    """A step without the mean of its runs."""
    basis = contrasts(len(step.members))
    parts = np.concatenate([step.deviations[None], step.expected])
    close = None if step.near is None else basis.T @ step.near @ basis
    return Evidence(basis.T @ step.covariances @ basis, basis.T @ parts @ kernel.vectors, close)


def share_of(odds: float) -> float:
    """The share of which these are the log-odds."""
    return float(1.0 / (1.0 + np.exp(-odds)))
