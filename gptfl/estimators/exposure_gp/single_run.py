"""One recorded run and the gradients along it: first order alone, its scale told by the run's own steps.

Let D(r, j) be what gradient products predict of test example j's change in interval r, between two recorded steps, for
a scale of 1, and e(r, i) the exposure to example i there. The run's steps are taken to follow

    change(r, j) = scale · D(r, j) + trend(r, j) + Σ_i e(r, i) · own(i, j) + noise(r, j)

where ``own`` is what an example does beside first order: normal, with the same variance for all examples of one test
example. The trend is a low polynomial of time for each test example, times the step sizes that passed. What is common to
all steps tells of the scale as well, but less: first order errs alike in all of them. Nothing tells how much of an
effect is left at the end, nor how well first order does for runs that weren't carried out: that is put into the
spread, as much as made-up runs of several laws ask for (``benchmarks/single_run.py``).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.accumulation import Vectors, accumulated, accumulated_counts
from gptfl.estimators.exposure_gp.process import Curricula

POWERS = 3
"""A trend is a polynomial of so many terms, where there are twice as many intervals and more."""
DRIFT = 1.0
"""How far the scale that the whole change tells may be off, as a share of it (a standard deviation)."""
BEYOND, BEYOND_SPREAD = 0.0, 1.5
"""The logarithm of how large an example's own effects are beside those of first order, squared: mean and standard
deviation beforehand."""
SCALE_DOUBT = 0.5
"""Standard deviation of the share of its effect that an example has at the end, and of first order elsewhere."""
FEWER = 0.5
"""Few intervals tell all of this worse: variances grow by this share of one interval."""
FREEDOM = 20.0
"""Degrees of freedom of intervals."""
LEAST = 1e-300


@dataclass(frozen=True, slots=True)
class UnitEffects:
    """What a unit of exposure does to each test example, to first order and up to a scale.

    ``now`` at the step itself, ``end`` at the end of the run; ``correlation`` is that of test examples' effects.
    """

    now: Vectors
    end: Vectors
    correlation: Float[np.ndarray, "test test"]

    @property
    def size(self) -> Float[np.ndarray, " test"]:
        """How far training examples differ in what they do to each test example, drawn halfway to the mean."""
        own = self.now.rows.astype(np.float64).mean(axis=0).var(axis=0)
        return np.asarray(np.sqrt(np.maximum(0.5 * own + 0.5 * own.mean(), LEAST)))


@dataclass(frozen=True, slots=True)
class OneRun:
    """The run: its curriculum, its recorded ``steps`` and the metric there."""

    curricula: Curricula
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "recorded test"]
    pool: int

    def intervals(
        self, now: Vectors
    ) -> tuple[Float[np.ndarray, "interval test"], Float[np.ndarray, "interval pool"], Float[np.ndarray, " interval"]]:
        """What is expected in each interval, the exposures there, and how many steps it has."""
        weights, batches = self.curricula.weights, self.curricula.batches
        expected = np.stack([one[0].copy() for one in accumulated(batches, weights, self.steps, now)])
        seen = np.stack([one[0].copy() for one in accumulated_counts(batches, weights, self.steps, self.pool)])
        return np.diff(expected, axis=0), np.diff(seen, axis=0), np.diff(self.steps).astype(np.float64)


@dataclass(frozen=True, slots=True)
class ScaleFit:
    """What the run's own steps tell.

    ``scale`` and the variance of it; ``own`` the variance of an example's own effect for a test example of size 1, and
    ``noise`` that of a step's noise there.
    """

    scale: float
    doubt: float
    own: float
    noise: float


def learn(run: OneRun, unit_effects: UnitEffects) -> ScaleFit:
    """The scale of first order and what is left of the changes beside it.

    The scale is the posterior mean of a normal prior around what the run's whole change tells, given how the changes of
    its intervals depart from a trend; it is no less than 0.
    """
    expected, seen, counts = run.intervals(unit_effects.now)
    size = unit_effects.size
    moved = np.diff(run.values, axis=0) / size
    expected = expected / size
    whole = float((moved * expected).sum() / max((expected**2).sum(), LEAST))
    # A run whose steps contradict first order tells of its size all the same.
    least = 0.1 * float(np.sqrt((moved**2).sum() / max((expected**2).sum(), LEAST)))
    trend = _trend(seen.sum(axis=1))
    moved_, expected_ = trend.T @ moved, trend.T @ expected
    between = trend.T @ (seen @ seen.T) @ trend
    noise = trend.T @ (counts[:, None] * trend)
    return _averaged(moved_, expected_, between, noise, max(whole, 0.0), max(whole, least, 1e-12))


def _trend(passed: Float[np.ndarray, " interval"]) -> Float[np.ndarray, "interval row"]:
    """An orthonormal basis of what no trend explains; all of it where there are few intervals."""
    count = len(passed)
    powers = POWERS if count >= 2 * POWERS else (1 if count >= 3 else 0)
    time = (np.cumsum(passed) - passed / 2) / max(float(passed.sum()), LEAST)
    columns = passed[:, None] * time[:, None] ** np.arange(powers)
    basis = np.linalg.qr(np.concatenate([columns, np.eye(count)], axis=1))[0]
    return np.asarray(basis[:, powers:count])


def _averaged(
    moved: Float[np.ndarray, "row test"],
    expected: Float[np.ndarray, "row test"],
    between: Float[np.ndarray, "row row"],
    noise: Float[np.ndarray, "row row"],
    whole: float,
    size: float,
) -> ScaleFit:
    """The mean over all ratios of own effects to noise, with a prior on that of own effects to first order."""
    root = np.linalg.inv(np.linalg.cholesky(noise))
    values, turn = np.linalg.eigh(root @ between @ root.T)
    values = np.maximum(values, 0.0)
    moved, expected = turn.T @ root @ moved, turn.T @ root @ expected
    rows, tests = moved.shape
    # Test examples move together: so many of them count.
    effective = _effective(moved)
    usual = (DRIFT * size) ** 2
    unit = max(float(((moved - whole * expected) ** 2).mean()), LEAST)
    costs, found = [], []
    for ratio in size**2 / unit * np.exp(np.linspace(-10.0, 10.0, 81)):
        precision = 1.0 / (1.0 + ratio * values)
        information = float((precision[:, None] * expected**2).sum()) * effective / tests
        slope = float((precision[:, None] * expected * moved).sum()) * effective / tests
        scale, doubt = whole, usual
        for _ in range(3):  # the noise beside the scale, and the scale beside the noise
            unit = max(float((precision[:, None] * (moved - scale * expected) ** 2).sum() / (rows * tests)), LEAST)
            doubt = 1.0 / (1.0 / usual + information / unit)
            scale = max(doubt * (whole / usual + slope / unit), 0.0)
        own = float(np.log(max(ratio * unit, LEAST)) - 2.0 * np.log(size))
        cost = 0.5 * effective * (rows * np.log(unit) - np.log(precision).sum())
        costs.append(cost + 0.5 * ((own - BEYOND) / BEYOND_SPREAD) ** 2)
        found.append((scale, doubt, ratio * unit, unit))
    # Where the steps don't tell how large own effects are, all that they may be counts.
    share = np.exp(min(costs) - np.array(costs))
    return ScaleFit(*(float(one) for one in share @ np.array(found) / share.sum()))


def _effective(values: Float[np.ndarray, "row test"]) -> float:
    """Of how many independent test examples these would be the changes: from how unequal the eigenvalues are."""
    products = values @ values.T
    rows = len(products)
    spread = float((products**2).sum())
    if spread == 0.0:
        return 1.0
    # Of m independent columns the squared trace is n m / (n + m + 1) of the sum of squares.
    share = float(np.trace(products)) ** 2 / spread
    most = float(values.shape[1])
    return most if share >= rows else float(np.clip(share * (rows + 1) / (rows - share), 1.0, most))


@dataclass(frozen=True, slots=True)
class SingleRun:
    """A simulator of one run: what it was, what first order predicts of others, and how sure that is."""

    run: OneRun
    unit_effects: UnitEffects
    scale_fit: ScaleFit
    higher: bool = False

    @classmethod
    def of(cls, run: OneRun, unit_effects: UnitEffects, higher: bool = False) -> "SingleRun":
        """Learn from the run's own steps."""
        return cls(run, unit_effects, learn(run, unit_effects), higher)

    def departures(
        self, batches: Int[np.ndarray, "run step batch"], rates: Float[np.ndarray, "run step"]
    ) -> tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]:
        """How far runs of the recorded step sizes depart from the recorded one, at its steps, and the standard deviation."""
        both = self.run.curricula.like(
            _joined(self.run.curricula.batches, batches), _joined(self.run.curricula.learning_rates, rates)
        )
        steps, size = self.run.steps, self.unit_effects.size
        moved = [one[1:] - one[:1] for one in accumulated(both.batches, both.weights, steps, self.unit_effects.end)]
        apart = [
            ((one[1:] - one[:1]) ** 2).sum(axis=1)
            for one in accumulated_counts(both.batches, both.weights, steps, self.run.pool)
        ]
        mean = self.scale_fit.scale * np.stack(moved, axis=1)
        variance = self.scale_fit.own * np.stack(apart, axis=1)[:, :, None] * size**2
        # Either run has noise of its own, which adds up.
        variance = variance + 2.0 * self.scale_fit.noise * (steps - steps[0])[:, None] * size**2
        variance = variance + self._relative * mean**2
        return mean, self._interval_scale * np.sqrt(variance)

    @property
    def _relative(self) -> float:
        """The variance of what effects must be multiplied by, as a share of the square of the scale."""
        return (
            SCALE_DOUBT**2 + self.scale_fit.doubt / max(self.scale_fit.scale**2, LEAST) if self.scale_fit.scale else 0.0
        )

    @property
    def _interval_scale(self) -> float:
        return float(np.sqrt(1.0 + FEWER / max(len(self.run.steps) - 1, 1)))

    def influence(
        self, places: Int[np.ndarray, " example"], weights: Float[np.ndarray, "target test"]
    ) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
        """What seeing an example once more in place of the average one does to weighted sums of the metric, and its
        standard deviation: at the mean step size in a batch of the usual size, at no step in particular.
        """
        curricula = self.run.curricula
        taken = (curricula.batches >= 0).any(axis=2)
        rate = float(curricula.weights[taken].mean())
        passing = _passing(self.unit_effects.end, curricula.learning_rates[0])
        effects = np.einsum("p,pnt->nt", passing, self.unit_effects.end.rows.astype(np.float64))
        effects = effects[places] - effects.mean(axis=0)
        mean = self.scale_fit.scale * rate * (effects @ weights.T)
        sized = weights * self.unit_effects.size
        own = ((sized @ self.unit_effects.correlation) * sized).sum(axis=1)
        variance = self.scale_fit.own * rate**2 * (1.0 - 1.0 / self.run.pool) * own[None] + self._relative * mean**2
        return mean, self._interval_scale * np.sqrt(np.maximum(variance, 0.0))

    def first_order(self, end: Vectors) -> Float[np.ndarray, "example part"]:
        """The mean that ``influence`` has, for what these vectors predict at the end."""
        curricula = self.run.curricula
        taken = (curricula.batches >= 0).any(axis=2)
        effects = np.einsum("p,pnt->nt", _passing(end, curricula.learning_rates[0]), end.rows.astype(np.float64))
        scale = self.scale_fit.scale * float(curricula.weights[taken].mean())
        return np.asarray(scale * (effects - effects.mean(axis=0)))


def _passing(vectors: Vectors, rates: Float[np.ndarray, " step"]) -> Float[np.ndarray, " point"]:
    """How much each point counts over a whole run."""
    found = np.zeros(len(vectors.points))
    for step, rate in enumerate(rates):
        for point, weight in vectors.weights(step):
            found[point] += rate * weight
    return found / max(float(rates.sum()), LEAST)


def _joined(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Our run and theirs as one array, the shorter and narrower filled up as empty places are."""
    shape = tuple(np.maximum(ours.shape[1:], theirs.shape[1:]))
    fill = -1 if ours.ndim == 3 else 0
    found = np.full((1 + len(theirs), *shape), fill, dtype=ours.dtype)
    found[(slice(0, 1), *(slice(0, size) for size in ours.shape[1:]))] = ours
    found[(slice(1, None), *(slice(0, size) for size in theirs.shape[1:]))] = theirs
    return found
