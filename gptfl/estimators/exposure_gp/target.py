"""What is known of one weighted sum of test examples: its own signal and noise, and not those of single test examples.

The process takes what test examples have in common from how alike their vectors are (``inference``). An effect on all of
them alike, such as that of a row from which everything is learned badly, is more than that allows, and the spread of a
mean over test examples would come out too small. Here the runs' deviations of the weighted sum itself say how large signal
and noise are, and how much of the signal is the examples' own effects and not what their vectors tell. With few runs none
of that is known well, so the posterior is a mean over a grid of both, weighed by the likelihood of the deviations and by
priors around what all test examples told together. Where examples are of groups, what those of a group have in common
beside their vectors is a third thing that isn't known well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp.hyperparameters import SPREAD
from gptfl.estimators.exposure_gp.inference import Rows, rows_of
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.step_posterior import STRENGTH

SIGNALS = np.linspace(-3.0, 3.0, 25)
"""Logarithms of the factor of the signal, in standard deviations of its prior."""
OWN = np.linspace(-3.0, 3.0, 9)
"""The same of the factor of the examples' own effects."""
COMMON = np.linspace(-2.0, 2.0, 5)
"""The same of what the examples of a group have in common."""
CENTRE_COMMON, SPREAD_COMMON = -0.7, 1.5
"""Mean and standard deviation of the logarithm of its variance, in units of that of one example's effect beforehand."""
NEGLIGIBLE = 1e-4
"""What is less probable than that counts as impossible."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the grid: the factor of the examples' own effects, and of the signal in units of the noise.

    ``share`` is how probable it is, ``variance`` that of the noise; ``deviations`` are the runs' along the vectors of
    ``rows``, in the metric's units. ``common`` is the factor of what the examples of a group have in common, None where
    there are no groups.
    """

    rows: Rows
    deviations: Float[np.ndarray, " row"]
    own: float
    factor: float
    share: float
    variance: float
    common: float | None = None

    @property
    def precision(self) -> Float[np.ndarray, " row"]:
        """The inverse variance along each vector, in units of the noise's."""
        return np.asarray(1.0 / (self.factor * self.rows.values + 1.0))


@dataclass(frozen=True, slots=True)
class TargetPosterior:
    """What the last recorded step says of a weighted sum of the test examples fitted."""

    candidates: tuple[Candidate, ...]

    @classmethod
    def of(
        cls,
        model: ExposureModel,
        weights: Float[np.ndarray, " test"],
        common: Float[np.ndarray, "run run"] | None = None,
    ) -> "TargetPosterior":
        """The posterior of the sum with these weights.

        ``common`` are covariances between the runs of what the examples of a group have in common, if that varied as much
        as one example's effect does; None where there are no groups.
        """
        step, posterior = model.at_end()
        left = step.deviations - np.tensordot(model.hyper.scales, step.expected, 1)
        if posterior.gaps is not None:
            left = posterior.gaps.filled(left)
        given = weights * step.size / model.slopes[-1]
        target, turned = left @ given, given @ posterior.columns.vectors
        signal, noise = (float((turned**2 * one).sum()) for one in (posterior.columns.signal, posterior.columns.noise))
        usual = posterior.strength * signal / max(noise, 1e-300)
        own = model.hyper.weights[0] * step.covariances[0]
        shared = np.tensordot(model.hyper.weights[1:], step.covariances[1:], 1)
        found, logs = [], []
        # Without vectors all effects are the examples' own, and their factor is that of the signal.
        places = OWN if len(step.covariances) > 1 else np.zeros(1)
        for place, along in product(places, np.zeros(1) if common is None else COMMON):
            times, between = float(np.exp(SPREAD * place)), shared
            grouped = None if common is None else float(np.exp(CENTRE_COMMON + SPREAD_COMMON * along))
            if common is not None and grouped is not None:
                between = between + grouped * common
            rows = rows_of(times * own + between, step.noise(model.hyper.lack), step.groups)
            deviations = rows.vectors.T @ target
            count = max(len(deviations), 1)
            # The variance is itself known from so many numbers: the posterior is Student's, whose variance is larger.
            wider = count / (count - 2.0) if count > 2 else 3.0
            for at in SIGNALS:
                factor = usual * float(np.exp(STRENGTH * at))
                precision = 1.0 / (factor * rows.values + 1.0)
                variance = max(float((precision * deviations**2).sum()) / count, 1e-300)
                fits = -0.5 * count * np.log(variance) + 0.5 * np.log(precision).sum()
                logs.append(float(fits) - 0.5 * (at**2 + place**2 + along**2))
                found.append(Candidate(rows, deviations, times, factor, 0.0, wider * variance, grouped))
        shares = np.exp(np.array(logs) - max(logs))
        shares /= shares.sum()
        kept = [
            replace(one, share=float(share)) for one, share in zip(found, shares, strict=True) if share > NEGLIGIBLE
        ]
        return cls(tuple(kept))

    def mean(self, cross: Float[np.ndarray, "source effect run"]) -> Float[np.ndarray, " effect"]:
        """The means of effects whose prior covariances with the runs are ``cross``."""
        found = np.zeros(cross.shape[1])
        for group in self._groups():
            found += group.turned(cross) @ (group.pulls @ group.shares)
        return found / self._whole

    def variance(
        self, cross: Float[np.ndarray, "source effect run"], prior: Float[np.ndarray, "source effect"]
    ) -> Float[np.ndarray, " effect"]:
        """The variances of effects, of which the prior ones are ``prior``."""
        mean, found = self.mean(cross), np.zeros(prior.shape[1])
        for group in self._groups():
            turned = group.turned(cross)
            told = turned**2 @ (group.precision * group.factors**2)
            left = np.maximum(group.combined(prior)[:, None] * group.factors - told, 0.0)
            found += (group.variances * left + (turned @ group.pulls - mean[:, None]) ** 2) @ group.shares
        return found / self._whole

    def before(self, prior: Float[np.ndarray, "source effect"]) -> Float[np.ndarray, " effect"]:
        """The variances of effects before any run, with the factors as they are known now."""
        parts = (group.combined(prior) * (group.shares * group.variances @ group.factors) for group in self._groups())
        return np.asarray(sum(parts) / self._whole)

    @property
    def _whole(self) -> float:
        return sum(one.share for one in self.candidates)

    def _groups(self) -> Iterator["_Group"]:
        """The candidates, those together that differ in the factor of the signal alone."""
        for _, some in groupby(self.candidates, lambda one: id(one.rows)):
            yield _Group(tuple(some))


@dataclass(frozen=True, slots=True)
class _Group:
    """Candidates that differ in the factor of the signal alone: they share the vectors of the runs' covariance."""

    candidates: tuple[Candidate, ...]

    def _each(self, name: str) -> Float[np.ndarray, " candidate"]:
        return np.array([getattr(one, name) for one in self.candidates])

    @property
    def shares(self) -> Float[np.ndarray, " candidate"]:
        """How probable each is."""
        return self._each("share")

    @property
    def factors(self) -> Float[np.ndarray, " candidate"]:
        """The factor of the signal in each."""
        return self._each("factor")

    @property
    def variances(self) -> Float[np.ndarray, " candidate"]:
        """The variance of the noise in each."""
        return self._each("variance")

    @property
    def precision(self) -> Float[np.ndarray, "row candidate"]:
        """The inverse variance along each vector in each."""
        return np.stack([one.precision for one in self.candidates], axis=1)

    @property
    def pulls(self) -> Float[np.ndarray, "row candidate"]:
        """By what covariances along each vector are multiplied to be a mean."""
        return np.stack([one.factor * one.precision * one.deviations for one in self.candidates], axis=1)

    def combined(self, parts: Float[np.ndarray, "source ..."]) -> Float[np.ndarray, "..."]:
        """Prior covariances of own effects, of shared ones and of what groups have in common, before the factor of the signal."""
        one = self.candidates[0]
        factors = np.ones(len(parts))
        factors[0] = one.own
        if one.common is not None:
            factors[-1] = one.common
        return np.tensordot(factors, parts, 1)

    def turned(self, cross: Float[np.ndarray, "source effect run"]) -> Float[np.ndarray, "effect row"]:
        """Covariances with the runs, along the vectors."""
        return np.asarray(self.combined(cross) @ self.candidates[0].rows.vectors)
