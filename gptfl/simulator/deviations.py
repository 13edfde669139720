"""A Gaussian process over how far a run departs from the average one, driven by what it has seen.

The deviation of run k at recorded step t on test example j, on an even scale (``links``), is

    z_k(t, j) - mean_t,j  =  prior_k(t, j) + signal + noise

``prior`` is a non-negative combination of given first-order expectations (gradient products), ``signal`` a Gaussian
process that is linear in the run's step-size-weighted exposures through covariances between training examples, and
shared between test examples as far as they are alike. Everything that runs have in common is in the mean. Where runs
repeat others, what is linear in nothing but shared by runs of nearly the same exposures (a lack of fit) is told from the
noise by one covariance more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize

from gptfl.curricula import presentation_weights
from gptfl.simulator.kriging import columns, contrasts
from gptfl.simulator.likelihood import Evidence, Weighed, weigh
from gptfl.simulator.travel import Vectors, counted, travelled

RECENT = (3.0, 12.0)
"""What was seen lately counts by itself, fading by a factor of e within so many steps: a fresh batch pulls hard, and
much of it is soon undone by others."""
STEPS = 8
"""Hyperparameters are chosen on this many steps, spread over the run: neighbours tell the same."""
SPREAD = 1.5
"""Standard deviation of the normal prior on each hyperparameter, which are logarithms and log-odds."""
CENTRE_OWN, CENTRE_SHARED, CENTRE_NOISE, CENTRE_ALIKE, CENTRE_LACK = -1.0, 1.5, 1.5, 1.0, 0.0
"""Its means: the weight of each example's own effect, of each shared one, of noise that is alike, of likeness, and of
what runs of nearly the same exposures share."""
NEAR = 0.1
"""The squared reach of that, in units of the mean squared distance between the exposures of two runs."""
REACH = 9.0
"""How far from its mean a hyperparameter is looked for."""
PRIOR_RUNS = 4.0
"""The relative sizes of the test examples' deviations count as if seen in this many runs beforehand."""


@dataclass(frozen=True, slots=True)
class Curricula:
    """Batches (-1 is padding) and step sizes of several runs.

    ``per`` is how many examples a batch is taken to have; None is as many as it has.
    """

    batches: Int[np.ndarray, "run step batch"]
    learning_rates: Float[np.ndarray, "run step"]
    per: int | None = None

    @property
    def weights(self) -> Float[np.ndarray, "run step"]:
        """How much seeing an example once at each step counts."""
        if self.per is not None:
            return self.learning_rates / self.per
        return presentation_weights(self.batches, self.learning_rates)

    def of(self, runs: Int[np.ndarray, " kept"]) -> "Curricula":
        """Some of the runs."""
        return replace(self, batches=self.batches[runs], learning_rates=self.learning_rates[runs])

    def like(
        self, batches: Int[np.ndarray, "other step batch"], learning_rates: Float[np.ndarray, "other step"]
    ) -> "Curricula":
        """Other runs, their examples counted in the same way."""
        return replace(self, batches=batches, learning_rates=learning_rates)


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known of the training examples that batches name.

    ``own`` numbers those with an effect of their own (their place among the examples fitted, or beyond);
    ``shared`` are vectors whose products are covariances of effects, ``recent`` (None: none) those of which what was
    seen lately counts by itself as well; ``expected`` vectors with one entry a test example: the expected change for
    a unit of step size.
    """

    own: Int[np.ndarray, " example"]
    shared: tuple[Vectors, ...]
    expected: tuple[Vectors, ...]
    recent: Vectors | None = None

    @property
    def effects(self) -> tuple[tuple[Vectors, float | None], ...]:
        """The vectors of every source but the examples' own, each with its reach."""
        lately = () if self.recent is None else tuple((self.recent, reach) for reach in RECENT)
        return (*((vectors, None) for vectors in self.shared), *lately)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the test examples are: eigenvalues and eigenvectors of a correlation matrix, and relative sizes."""

    values: Float[np.ndarray, " column"]
    vectors: Float[np.ndarray, "test column"]
    sizes: Float[np.ndarray, " test"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "test d"] | None, count: int) -> "Likeness":
        """Cosines of these vectors, and their lengths; unalike and of one size where there are none."""
        if vectors is None:
            return cls(np.zeros(count), np.eye(count), np.ones(count))
        lengths = np.linalg.norm(vectors, axis=1)
        unit = vectors / np.maximum(lengths, 1e-300)[:, None]
        values, turn = np.linalg.eigh(unit @ unit.T)
        return cls(values, turn, lengths / np.sqrt(np.mean(lengths**2)))

    @property
    def cosines(self) -> Float[np.ndarray, "test test"]:
        """The correlation matrix."""
        return np.asarray((self.vectors * self.values) @ self.vectors.T)


def states(
    runs: Curricula,
    steps: Int[np.ndarray, " recorded"],
    examples: Examples,
    own: int,
    at: Float[np.ndarray, " step_and_end"] | None = None,
) -> Iterator[tuple[list[Float[np.ndarray, "run d"]], list[Float[np.ndarray, "run test"]]]]:
    """At each recorded step where every run has come to: in its examples' effects, and as expected.

    ``at`` tells which recorded step each of theirs stands for (None: itself).
    """
    renumbered = np.where(runs.batches >= 0, examples.own[runs.batches], -1)
    weights = runs.weights
    sources = [counted(renumbered, weights, steps, own)]
    sources += [travelled(runs.batches, weights, steps, *effect, at) for effect in examples.effects]
    expected = [travelled(runs.batches, weights, steps, vectors, None, at) for vectors in examples.expected]
    for _ in steps:
        yield [next(source) for source in sources], [next(source) for source in expected]


@dataclass(frozen=True, slots=True)
class Hyper:
    """Weights of the covariances between runs (own effects first), likeness of signals and noise, prior's scales.

    ``factors`` are by how much more or less than that each test example answers to what is expected of it.
    """

    weights: Float[np.ndarray, " source"]
    alike: float
    shared: float
    scales: Float[np.ndarray, " expected"]
    factors: Float[np.ndarray, " test"]


@dataclass
class Step:
    """One recorded step of the runs fitted: deviations and expectations in units of ``size`` [test].

    ``members`` are the runs that were recorded there; ``common`` is what was expected of them on average, in the
    metric's units.
    ``reference`` is the size of a deviation for a test example of relative size 1 and a scale of slope 1.
    ``known`` says which deviations there are, None where all; those that aren't are 0.
    """

    covariances: Float[np.ndarray, "source run run"]
    units: Float[np.ndarray, " source"]
    deviations: Float[np.ndarray, "run test"]
    expected: Float[np.ndarray, "expected run test"]
    size: Float[np.ndarray, " test"]
    reference: float
    members: Int[np.ndarray, " run"]
    common: Float[np.ndarray, "expected test"]
    known: Bool[np.ndarray, "run test"] | None = None

    def condensed(self) -> "Step":
        """Without what is only needed to learn from it."""
        none = np.zeros((0, 0, 0))
        return replace(self, covariances=none, deviations=np.zeros((0, 0)), expected=none)

    def of_runs(self, rows: Int[np.ndarray, " kept"]) -> "Step":
        """The same step of some of its runs, which have every value; sizes and units stay."""
        return replace(
            self,
            covariances=self.covariances[:, rows][:, :, rows],
            deviations=self.deviations[rows],
            expected=self.expected[:, rows],
            members=self.members[rows],
            known=None,
        )


def steps_of(
    values: Float[np.ndarray, "run recorded test"],
    slopes: Float[np.ndarray, "recorded test"],
    runs: Curricula,
    steps: Int[np.ndarray, " recorded"],
    examples: Examples,
    likeness: Likeness,
    own: int,
    *,
    lack: bool = False,
) -> Iterator[Step]:
    """The steps of the runs fitted, one after the other; runs that are all NaN at a step aren't in it.

    ``slopes`` are those of the even scale at the mean. With ``lack`` the last covariance is that of runs of nearly the
    same exposures.
    """
    for row, (effects, expected) in enumerate(states(runs, steps, examples, own)):
        members = np.flatnonzero(np.isfinite(values[:, row]).any(axis=1))
        found, units = [], []
        for effect in effects:
            centred = _differences(effect[members])
            covariance = centred @ centred.T
            # Of runs that have all come to the same place, the way there is the unit.
            unit = float(np.trace(covariance)) / max(len(members) - 1, 1)
            unit = unit or float((effect[members] ** 2).sum(axis=1).mean()) or 1.0
            found.append(covariance / unit)
            units.append(unit)
        if lack:
            found.append(near(effects[0][members], effects[0][members], units[0]))
            units.append(1.0)
        deviations, known = _deviations(values[members, row])
        size, reference = sizes_of(deviations, likeness.sizes * slopes[row], known)
        told, common = np.zeros((len(expected), *deviations.shape)), np.zeros((len(expected), len(size)))
        for number, one in enumerate(expected):
            common[number] = one[members].mean(axis=0)
            told[number] = _differences(one[members]) * (slopes[row] / size)
        units_ = np.array(units)
        yield Step(np.stack(found), units_, deviations / size, told, size, reference, members, common, known)


def _deviations(
    values: Float[np.ndarray, "run test"],
) -> tuple[Float[np.ndarray, "run test"], Bool[np.ndarray, "run test"] | None]:
    """Values less their mean over runs, 0 where there is none; and which there are, None where all."""
    known = np.isfinite(values)
    level = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    apart = np.where(known, values - level, 0.0)
    # The mean of equal numbers is not always that number.
    if np.abs(apart).max(initial=0.0) <= 1e-12 * np.abs(values[known]).max(initial=0.0):
        apart = np.zeros_like(apart)
    return apart, None if known.all() else known


def near(
    ones: Float[np.ndarray, "one example"], others: Float[np.ndarray, "other example"], unit: float
) -> Float[np.ndarray, "one other"]:
    """How much of what their exposures leave unexplained two runs share: 1 at the same exposures, nothing far away.

    ``unit`` is half the mean squared distance between the exposures of two runs fitted.
    """
    squares = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * ones @ others.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2.0 * NEAR * 2.0 * unit)))


def _differences(states: Float[np.ndarray, "run d"]) -> Float[np.ndarray, "run d"]:
    """States less their mean; nothing where they differ by no more than the precision of their vectors."""
    centred = states - states.mean(axis=0)
    rounded = np.abs(centred).max(initial=0.0) <= 1e-6 * np.abs(states).max(initial=0.0)
    return np.zeros_like(centred) if rounded else centred


def sizes_of(
    deviations: Float[np.ndarray, "run test"],
    beforehand: Float[np.ndarray, " test"],
    known: Bool[np.ndarray, "run test"] | None = None,
) -> tuple[Float[np.ndarray, " test"], float]:
    """The standard deviation of each test example across runs, drawn towards ``beforehand`` where runs are few.

    Beside it, how large it is for ``beforehand`` 1. Deviations that aren't ``known`` (None: all are) are 0.
    """
    counts = np.full(deviations.shape[1], len(deviations)) if known is None else known.sum(axis=0)
    freedom = np.maximum(counts - 1, 0)
    squares = (deviations**2).sum(axis=0)
    level = float(squares.sum() / max(int(freedom.sum()), 1))
    if level == 0.0:
        return np.ones(len(squares)), 0.0
    unit = level / max(float(np.mean(beforehand**2)), 1e-300)
    sizes = np.sqrt((PRIOR_RUNS * unit * beforehand**2 + squares) / (PRIOR_RUNS + freedom))
    return np.asarray(np.maximum(sizes, 1e-6 * np.sqrt(level))), float(np.sqrt(unit))


def middle(sources: int, lack: bool) -> Float[np.ndarray, " source"]:
    """The priors' means of the logarithms of the weights; with ``lack`` the last source is that of near runs."""
    centre = np.full(sources, CENTRE_SHARED)
    centre[0] = CENTRE_OWN
    if lack:
        centre[-1] = CENTRE_LACK
    return centre


def choose(steps: Sequence[Step], likeness: Likeness, alike: bool, lack: bool = False) -> tuple[Hyper, float]:
    """The hyperparameters of the greatest posterior density, and minus its logarithm.

    The restricted marginal likelihood of the runs fitted, averaged over the steps, times normal priors; the scales
    of the expectations are fitted along with each candidate (non-negative generalised least squares). ``lack`` says
    that the last covariance is that of runs of nearly the same exposures. No value may be missing (see ``whole``).
    """
    sources = len(steps[0].covariances)
    centre = middle(sources, lack)
    if alike:
        centre = np.append(centre, [CENTRE_NOISE, CENTRE_ALIKE])
    evidence = []
    for step in steps:
        basis = contrasts(len(step.members))
        parts = np.concatenate([step.deviations[None], step.expected])
        evidence.append(Evidence(basis.T @ step.covariances @ basis, basis.T @ parts @ likeness.vectors))
    others = np.maximum(likeness.values, 0.0) - 1.0

    def hyper(place: Float[np.ndarray, " parameter"], scales: Float[np.ndarray, " expected"]) -> Hyper:
        noise, like = (share_of(place[sources]), share_of(place[sources + 1])) if alike else (0.0, 0.0)
        return Hyper(np.exp(place[:sources]), like, noise, scales, np.ones(len(likeness.sizes)))

    def told(place: Float[np.ndarray, " parameter"]) -> Weighed:
        given = hyper(place, np.zeros(0))
        cols = columns(likeness.values, likeness.vectors, given.alike, given.shared)
        return weigh(evidence, given.weights, cols.signal, cols.noise)

    def slopes(place: Float[np.ndarray, " parameter"]) -> tuple[float, Float[np.ndarray, " parameter"]]:
        found, given = told(place), hyper(place, np.zeros(0))
        slope = found.weights * given.weights
        if alike:
            noise = given.alike * others @ found.noise * given.shared * (1.0 - given.shared)
            like = others @ (found.signal + given.shared * found.noise) * given.alike * (1.0 - given.alike)
            slope = np.append(slope, [noise, like])
        away = (place - centre) / SPREAD
        return float(found.cost + 0.5 * (away**2).sum()), slope + away / SPREAD

    best = minimize(slopes, centre, jac=True, method="L-BFGS-B", bounds=[(one - REACH, one + REACH) for one in centre])
    return hyper(best.x, told(best.x).scales), float(best.fun)


def share_of(odds: float) -> float:
    """The share of which these are the log-odds."""
    return float(1.0 / (1.0 + np.exp(-odds)))
