"""Gaussian-process regression of many outputs on few runs, in closed form through two eigendecompositions.

At one step, the deviations of n runs on m test examples have the covariance ``G ⊗ C + I ⊗ N`` in units of a variance:
``G`` between runs and ``C`` between test examples, and noise ``N = (1 - shared) I + shared C``, which leaves the
eigenvectors of ``C`` as they are. The mean over runs is unknown and has a flat prior; ``G`` is centred on the runs
fitted, so that the posterior of that mean is their plain mean (universal kriging with a constant trend). With
``C = V diag(mu) V'`` every column of ``D V`` is a regression of its own, with ``mu_b G + nu_b I``. Noise that runs share
has a correlation ``M`` in the place of ``I``; vectors that make ``G`` diagonal and ``M`` the identity do the same. Of runs
that repeat one another only the mean counts: by what they differ is left open, as if it had noise without bounds. Values
that some runs lack are solved for (``missing_values``).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.estimators.exposure_gp.block_basis import Basis
from gptfl.estimators.exposure_gp.missing_values import Gaps
from gptfl.estimators.exposure_gp.repeats import averaging


@dataclass(frozen=True, slots=True)
class Columns:
    """The eigenvectors of the covariance between outputs, and signal and noise along each."""

    vectors: Basis
    signal: Float[np.ndarray, " column"]
    noise: Float[np.ndarray, " column"]

    @property
    def variances(self) -> tuple[Float[np.ndarray, " test"], Float[np.ndarray, " test"]]:
        """Those of the signal and of the noise on each output."""
        squares = self.vectors**2
        return np.asarray(squares @ self.signal), np.asarray(squares @ self.noise)


def columns(
    values: Float[np.ndarray, " column"],
    vectors: Basis,
    similarity_share: float,
    shared: float,
) -> Columns:
    """The covariance ``C = similarity_share S + (1 - similarity_share) I`` of test examples, in the eigenbasis of ``S``.

    Args:
        values: eigenvalues of the similarity ``S``.
        vectors: its eigenvectors.
        similarity_share: from 0, where test examples move apart, to 1.
        shared: the share of the noise that is correlated as the signal is.
    """
    signal = similarity_share * np.maximum(values, 0.0) + (1.0 - similarity_share)
    return Columns(vectors, signal, (1.0 - shared) + shared * signal)


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors ``U``, orthogonal to the mean, with ``U' G U = diag(values)`` and ``U' M U = I``.

    ``volume`` is the log-determinant of ``M`` without the mean; 0 and eigenvectors of ``G`` where ``M`` is the identity.
    ``repeats`` is how many runs each one is a repeat of, itself among them; ``U`` is the same for all of these.
    """

    vectors: Float[np.ndarray, "run row"]
    values: Float[np.ndarray, " row"]
    repeats: Int[np.ndarray, " run"]
    volume: float = 0.0


def contrasts(count: int) -> Float[np.ndarray, "run row"]:
    """An orthonormal basis of what is orthogonal to the mean of so many runs."""
    return np.asarray(np.linalg.qr(np.eye(count) - 1.0 / count)[0][:, : count - 1])


def rows_of(
    covariance: Float[np.ndarray, "run run"],
    noise: Float[np.ndarray, "run run"] | None = None,
    groups: Int[np.ndarray, " run"] | None = None,
) -> Rows:
    """Decompose a covariance between runs, which need not be centred, beside a correlation of their noise (None: none).

    Runs of one of the ``groups`` (None: each is alone) are repeats, unless all are.
    """
    basis = contrasts(len(covariance))
    repeats = np.ones(len(covariance), dtype=int)
    if groups is not None and np.ptp(groups) > 0:
        between = averaging(groups)
        values, vectors = np.linalg.eigh(basis.T @ between @ basis)
        basis = basis @ vectors[:, values > 0.5]
        repeats = (groups[:, None] == groups[None]).sum(axis=1)
    if noise is None:
        values, vectors = np.linalg.eigh(basis.T @ covariance @ basis)
        return Rows(basis @ vectors, np.maximum(values, 0.0), repeats)
    white, volume = whitening(basis.T @ noise @ basis)
    values, vectors = np.linalg.eigh(white.T @ basis.T @ covariance @ basis @ white)
    return Rows(basis @ white @ vectors, np.maximum(values, 0.0), repeats, volume)


def whitening(noise: Float[np.ndarray, "row row"]) -> tuple[Float[np.ndarray, "row row"], float]:
    """``W`` with ``W' noise W = I``, and the log-determinant of the noise."""
    root = np.linalg.cholesky(noise)
    return np.asarray(np.linalg.inv(root).T), float(2.0 * np.log(root.diagonal()).sum())


@dataclass(frozen=True, slots=True)
class Shared:
    """Noise that asked runs share with fitted ones: its covariances and variances, and ``N V`` and variances of the outputs."""

    covariance: Float[np.ndarray, "asked run"]
    own: Float[np.ndarray, " asked"]
    outputs: Basis
    own_outputs: Float[np.ndarray, " output"]


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known after the runs fitted.

    ``dual`` holds ``P_b d_b`` for each column b, where ``P_b`` is the inverse covariance with the mean projected out;
    ``variance`` is the unit of all covariances, and ``strength`` what those between runs are multiplied by: the ones
    given to ``mean`` and ``spread`` come without it. ``missing_values`` are the values that some runs lack, None where none does.
    """

    rows: Rows
    columns: Columns
    dual: Float[np.ndarray, "run column"]
    variance: float
    strength: float = 1.0
    gaps: Gaps | None = None

    @property
    def precision(self) -> Float[np.ndarray, "row column"]:
        """The eigenvalues of each ``P_b``."""
        return precision_of(self.rows, self.columns, self.strength)

    @property
    def shift(self) -> Float[np.ndarray, " test"]:
        """By how much the mean over all runs lies beside that over those which have a value."""
        moved = np.zeros(len(self.columns.vectors))
        if self.gaps is not None:
            np.add.at(moved, self.gaps.tests, self.gaps.values / len(self.rows.vectors))
        return moved

    def mean(
        self,
        covariance: Float[np.ndarray, "asked run"],
        outputs: Basis,
        shared: Shared | None = None,
    ) -> Float[np.ndarray, "asked output"]:
        """Expected deviations from the mean of the runs fitted.

        ``covariance`` is between asked and fitted runs; ``outputs`` the covariance of the asked outputs with the
        fitted ones times their eigenvectors (``C V``). ``shared`` is the noise that asked and fitted runs share.
        """
        found = (self.strength * covariance @ self.dual) @ outputs.T
        return np.asarray(found if shared is None else found + (shared.covariance @ self.dual) @ shared.outputs.T)

    def spread(
        self,
        covariance: Float[np.ndarray, "asked run"],
        own: Float[np.ndarray, " asked"],
        outputs: Basis,
        own_outputs: Float[np.ndarray, " output"],
        places: Int[np.ndarray, " output"] | None = None,
        shared: Shared | None = None,
    ) -> Float[np.ndarray, "asked output"]:
        """The variance of the signal, in the data's units: without noise, and without that of the mean.

        What is open of values that runs lack counts.

        Args:
            covariance: of requested with fitted runs.
            own: variances of the requested runs.
            outputs: covariances of the outputs with the test examples fitted, along their eigenvectors.
            own_outputs: variances of the outputs.
            places: of the outputs among the test examples (-1: none), whose means over runs are open as well; None for
                none.
            shared: the noise that requested runs share with fitted ones, whose variance then counts as well.
        """
        cross = self.strength * covariance @ self.rows.vectors
        left = self.strength * own[:, None] * own_outputs[None] - (cross**2 @ self.precision) @ (outputs**2).T
        parts = [(cross, outputs)]
        if shared is not None:
            theirs = shared.covariance @ self.rows.vectors
            left = (
                left
                + shared.own[:, None] * shared.own_outputs[None]
                - (theirs**2 @ self.precision) @ (shared.outputs**2).T
            )
            left = left - 2.0 * ((cross * theirs) @ self.precision) @ (outputs * shared.outputs).T
            parts.append((theirs, shared.outputs))
        if self.gaps is not None:
            rows, columns = self.rows.vectors, np.asarray(self.columns.vectors)
            whole = [(one, np.asarray(other)) for one, other in parts]
            left = left + self.gaps.open(whole, rows, columns, self.precision, places)
        return np.asarray(self.variance * np.maximum(left, 0.0))

    def noise(self) -> Float[np.ndarray, " test"]:
        """The variance of the noise on each fitted output."""
        return self.variance * self.columns.variances[1]

    def left_out(self) -> tuple[Float[np.ndarray, "run test"], Float[np.ndarray, "run test"]]:
        """Errors of predicting each fitted run from the others, and their variances.

        Of runs that repeat one another it is their mean, predicted without any of them.
        """
        repeats = self.rows.repeats[:, None]
        weight = (self.rows.vectors**2) @ self.precision * repeats
        turn = self.columns.vectors
        return (self.dual / weight) @ turn.T, self.variance * ((1.0 / (repeats * weight)) @ (turn**2).T)


def precision_of(rows: Rows, columns: Columns, strength: float = 1.0) -> Float[np.ndarray, "row column"]:
    """The inverse covariance along each pair of eigenvectors; ``strength`` is a factor of that between runs."""
    return np.asarray(1.0 / (strength * rows.values[:, None] * columns.signal[None] + columns.noise[None]))


def condition(
    rows: Rows,
    columns: Columns,
    deviations: Float[np.ndarray, "run test"],
    strength: float = 1.0,
    known: Bool[np.ndarray, "run test"] | None = None,
) -> Posterior:
    """The posterior after the deviations of the runs fitted; their variance unit is the likeliest one.

    Args:
        rows: the covariance of runs, by its eigenbasis.
        columns: the covariance of test examples, by its eigenbasis.
        deviations: from the mean run, in units of their size.
        strength: of the signal beside the noise.
        known: which deviations count (None: all).
    """
    precision = precision_of(rows, columns, strength)
    gaps, freedom = None, float(len(rows.values) * len(columns.noise))
    if known is not None and not known.all():
        gaps = Gaps.of(known, deviations, rows.vectors, np.asarray(columns.vectors), precision)
        deviations, freedom = gaps.filled(deviations), float(np.maximum(known.sum(axis=0) - 1, 0).sum())
    turned = rows.vectors.T @ deviations @ columns.vectors
    variance = float((turned**2 * precision).sum() / max(freedom, 1.0))
    return Posterior(rows, columns, rows.vectors @ (turned * precision), max(variance, 1e-300), strength, gaps)


def cost(squares: float, logs: float, rows: int, outputs: int) -> float:
    """The negative log of the restricted likelihood, an output, up to a constant; the variance profiled out.

    Args:
        squares: the sum of squared deviations in units of their spread.
        logs: the sum of the logarithms of all precisions.
        rows: runs less one.
        outputs: how many test examples.
    """
    variance = max(squares / (rows * outputs), 1e-300)
    return float(0.5 * rows * np.log(variance) - 0.5 * logs / outputs)
