"""A fitted estimator as a few small arrays: what it predicts for any subset of the pool, without the estimator."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.links import Link
from gptfl.core.probability import probability


@dataclass(frozen=True, slots=True)
class FormRecipe:
    """The recipe that answers are about: step sizes, batch size, and the steps that answers are of."""

    learning_rates: Float[np.ndarray, " step"]
    batch_size: int
    steps: Int[np.ndarray, " recorded"]


@dataclass(frozen=True, slots=True)
class FormVariance:
    """The variance of what the examples of a run do, in the square of its state's distance from the average run.

    That distance is ``quadratic`` in the mean of the subset's rows of ``factors``, plus the sum of their ``squares`` over
    the square of their weight. ``spread`` is the variance before anything was recorded, for each unit of it. ``rows`` are
    how far the state lies along what recorded runs differ in, for each unit of ``LinearForm.factors``, and ``known`` how
    much the square of that takes off. ``noise`` is all else. Columns are the test examples, on the even scale, and last
    their mean, in the metric's units.
    """

    factors: Float[np.ndarray, "pool l"]
    squares: Float[np.ndarray, "pool recorded"]
    quadratic: Float[np.ndarray, "recorded l l"]
    rows: Float[np.ndarray, "recorded row k"]
    known: Float[np.ndarray, "recorded row column"]
    spread: Float[np.ndarray, "recorded column"]
    noise: Float[np.ndarray, "recorded column"]

    def of(
        self, members: Int[np.ndarray, " subset"], weight: float, state: Float[np.ndarray, " k"]
    ) -> tuple[Float[np.ndarray, "recorded column"], Float[np.ndarray, "recorded column"]]:
        """The variance that is left of what these members do, and what it was before anything was recorded."""
        shares = np.zeros(len(self.factors))
        shares[members] = 1.0 / weight
        return self.between(shares, state)

    def between(
        self, shares: Float[np.ndarray, " pool"], state: Float[np.ndarray, " k"]
    ) -> tuple[Float[np.ndarray, "recorded column"], Float[np.ndarray, "recorded column"]]:
        """As ``of`` of what moves a run by these shares of the rows, which may be differences and below 0.

        ``state`` is the same combination of the rows of ``LinearForm.factors``.
        """
        place = shares @ self.factors
        distance = np.einsum("tkl,k,l->t", self.quadratic, place, place)
        distance += shares**2 @ self.squares
        before = self.spread * np.maximum(distance, 0.0)[:, None]
        known = np.einsum("tr,trc->tc", (self.rows @ state) ** 2, self.known)
        return np.maximum(before - known, 0.0), before


@dataclass(frozen=True, slots=True)
class FormBreadth:
    """Over how many examples the exposures of recorded runs are spread, at least and at most, and what others cost.

    For each factor of e outside of these, a run may end elsewhere by ``share`` of ``lately``, what the average run changes
    while its step sizes add up to e times as much; a difference of logarithms of up to ``rounding`` is none. Columns are those of ``FormVariance``.
    """

    least: Float[np.ndarray, " recorded"]
    most: Float[np.ndarray, " recorded"]
    share: float
    rounding: float
    lately: Float[np.ndarray, "recorded column"]

    def apart(self, recipe: FormRecipe, count: int) -> Float[np.ndarray, " recorded"]:
        """How far a subset of so many examples, taken in turn, lies outside: a difference of logarithms, 0 inside."""
        exposures, found, begin = np.zeros(count), np.zeros(len(recipe.steps)), 0
        size = recipe.batch_size
        for row, step in enumerate(recipe.steps):
            for taken in range(begin, min(int(step), len(recipe.learning_rates))):
                places = np.arange(taken * size, (taken + 1) * size) % count
                np.add.at(exposures, places, recipe.learning_rates[taken] / size)
            begin = int(step)
            squares = float((exposures**2).sum())
            own = np.log(exposures.sum() ** 2 / squares) if squares > 0 else 0.0
            away = max(np.log(self.least[row]) - own, own - np.log(self.most[row]), 0.0)
            found[row] = away if away > self.rounding else 0.0
        return found


@dataclass(frozen=True, slots=True)
class FormIntervals:
    """How intervals are made of standard deviations.

    These are multiplied by ``scale``; ``reach`` has by level how many of them an interval reaches to each side, nothing
    where none is told. ``extremes`` are the least and the greatest recorded score of each test example, back to which
    intervals of level ``sure`` and above reach.
    """

    scale: float
    reach: Mapping[float, float]
    sure: float
    extremes: Float[np.ndarray, "2 test"]


@dataclass(frozen=True, slots=True)
class FormTargets:
    """Weighted means of test examples whose changes are told together, at the last step and in the metric's units.

    ``weights`` says what each test example counts. ``spread``, ``known`` and ``lately`` are as in ``FormVariance`` and
    ``FormBreadth``, for each two of the targets; ``lately`` keeps its sign.
    """

    weights: Float[np.ndarray, "target test"]
    spread: Float[np.ndarray, "target target"]
    known: Float[np.ndarray, "row target target"]
    lately: Float[np.ndarray, " target"]


@dataclass(frozen=True, slots=True)
class JointChange:
    """What several weighted means of test examples change by, with the covariance of what the examples do to them."""

    mean: Float[np.ndarray, " target"]
    covariance: Float[np.ndarray, "target target"]


@dataclass(frozen=True, slots=True)
class LinearPrediction:
    """What training on a subset would give, in the mean over all orders.

    ``spread`` is the standard deviation of the mean over test examples of one such run, in the metric's units, and
    ``effect_spread`` that of what the examples do alone, at the last step; ``novelty`` as in ``Prediction``.
    """

    values: Float[np.ndarray, "recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "recorded test"], Float[np.ndarray, "recorded test"]]]
    spread: Float[np.ndarray, " recorded"]
    effect_spread: float
    novelty: float


@dataclass(frozen=True, slots=True)
class LinearForm:
    """What a simulator that is linear in exposures predicts for any subset, in the mean over all orders.

    The state of a subset is the mean of its examples' rows of ``factors``, each counted by ``weights``. On the even scale
    of ``link`` the prediction is ``base + slope @ state``. ``average`` is the average recorded run. Where everything
    recorded is 0 or 1, ``trials`` is how many runs that was, and predictions are probabilities; else it is 0.
    """

    link: Link
    recipe: FormRecipe
    first: Float[np.ndarray, " test"]
    average: Float[np.ndarray, "recorded test"]
    weights: Float[np.ndarray, " pool"]
    factors: Float[np.ndarray, "pool k"]
    base: Float[np.ndarray, "recorded test"]
    slope: Float[np.ndarray, "recorded test k"]
    variance: FormVariance
    breadth: FormBreadth
    intervals: FormIntervals
    trials: int = 0
    targets: FormTargets | None = None

    def predict(self, members: Int[np.ndarray, " subset"]) -> LinearPrediction:
        """What training on these different members of the pool would give. Raises ``ValueError`` for none."""
        if not len(members):
            raise ValueError("the subset is empty")
        tests, scale = len(self.first), self.intervals.scale
        weight = float(self.weights[members].sum())
        state = self.factors[members].sum(axis=0) / weight
        even = self.base + self.slope @ state
        signal, before = self.variance.of(members, weight, state)
        apart = self.breadth.apart(self.recipe, len(members))[:, None]
        beside = (self.breadth.share * apart * self.breadth.lately) ** 2
        spread = np.sqrt((signal + self.variance.noise) * scale**2 + beside)
        ends = [(one[-1, :tests] + beside[-1, :tests]).sum() for one in (signal, before)]
        values = self.link.back(even)
        bounds = {}
        for level, reach in self.intervals.reach.items():
            low, high = (self.link.back(even + side * reach * spread[:, :tests]) for side in (-1.0, 1.0))
            if level >= self.intervals.sure:
                least, most = self.intervals.extremes
                low = np.where(values > most, np.minimum(low, most), low)
                high = np.where(values < least, np.maximum(high, least), high)
            low[0] = high[0] = self.first
            bounds[level] = low, high
        if self.trials:
            values = probability(even, self.trials)
        values[0] = self.first
        effect = float(np.sqrt(signal[-1, tests] * scale**2 + beside[-1, tests]))
        novelty = float(np.clip(ends[0] / ends[1], 0.0, 1.0)) if ends[1] > 0 else 0.0
        return LinearPrediction(values, bounds, spread[:, tests], effect, novelty)

    def difference(self, members: Int[np.ndarray, " subset"], others: Int[np.ndarray, " other"]) -> tuple[float, float]:
        """What training on ``members`` instead of ``others`` changes of the mean over test examples at the last step.

        The second number is the standard deviation of that, as in ``differences``. Raises ``ValueError`` for an empty
        subset.
        """
        changes, spreads = self.differences(members, others)
        return float(changes[-1]), float(spreads[-1])

    def differences(
        self, members: Int[np.ndarray, " subset"], others: Int[np.ndarray, " other"]
    ) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
        """What training on ``members`` instead of ``others`` changes of each test example at the last step, and of their mean.

        The second array has the standard deviations of these, in the metric's units: of what the examples do alone, since
        the average run is the same for both, and chance falls out of the mean over all orders. What counts of an example
        number far from the recorded ones is the difference of both. Raises ``ValueError`` for an empty subset.
        """
        tests = len(self.first)
        ours, theirs = (self.predict(one).values[-1] for one in (members, others))
        shares = self.shares_of(members) - self.shares_of(others)
        left, _ = self.variance.between(shares, shares @ self.factors)
        away = [float(self.breadth.apart(self.recipe, len(one))[-1]) for one in (members, others)]
        beside = self.breadth.share * abs(away[0] - away[1]) * self.breadth.lately[-1]
        spreads = np.sqrt(left[-1] * self.intervals.scale**2 + beside**2)
        # The last column, of the mean, is in the metric's units already.
        spreads[:tests] = spreads[:tests] / self.link.slope(ours)
        return np.append(ours - theirs, ours.mean() - theirs.mean()), spreads

    def joint_change(
        self, members: Int[np.ndarray, " subset"], others: Int[np.ndarray, " other"] | None = None
    ) -> JointChange:
        """What training on ``members`` changes of each of ``targets`` at the last step, all told together.

        Args:
            members: places in the pool.
            others: those of the subset that it is held against; None for the average recorded run.

        In the metric's units, and of what the examples do alone, as ``difference``. Raises ``ValueError`` for an empty
        subset and for a form without ``targets``.
        """
        if self.targets is None:
            raise ValueError("the form has no targets")
        if not len(members) or (others is not None and not len(others)):
            raise ValueError("the subset is empty")
        shares, apart = self.shares_of(members), self.breadth.apart(self.recipe, len(members))[-1]
        than = self.average[-1]
        if others is not None:
            than = self.ends(others)
            shares = shares - self.shares_of(others)
            apart -= self.breadth.apart(self.recipe, len(others))[-1]
        return JointChange(
            self.targets.weights @ (self.ends(members) - than), self.joint_covariance(shares, abs(float(apart)))
        )

    def joint_covariance(self, shares: Float[np.ndarray, " pool"], apart: float) -> Float[np.ndarray, "target target"]:
        """The covariance of what moves a run by these shares of the rows does to each two of ``targets``.

        ``apart`` is the difference of how far the example numbers lie outside of the recorded ones. Raises ``ValueError``
        for a form without ``targets``.
        """
        if self.targets is None:
            raise ValueError("the form has no targets")
        variance, targets = self.variance, self.targets
        place = shares @ variance.factors
        distance = max(float(place @ variance.quadratic[-1] @ place + shares**2 @ variance.squares[:, -1]), 0.0)
        along = (variance.rows[-1] @ (shares @ self.factors)) ** 2
        left = distance * targets.spread - np.tensordot(along, targets.known, 1)
        beside = self.breadth.share * apart * targets.lately
        return np.asarray(_covariance(left) * self.intervals.scale**2 + np.outer(beside, beside))

    def ends(self, members: Int[np.ndarray, " subset"]) -> Float[np.ndarray, " test"]:
        """The metric of each test example at the last step, as ``predict`` has it."""
        state = self.factors[members].sum(axis=0) / float(self.weights[members].sum())
        return np.asarray(self.ends_of(state[None])[0])

    def ends_of(self, states: Float[np.ndarray, "subset k"]) -> Float[np.ndarray, "subset test"]:
        """The same of several states at once."""
        even = self.base[-1] + states @ self.slope[-1].T
        if self.trials:
            return probability(even, self.trials)
        return self.link.back(even)

    def shares_of(self, members: Int[np.ndarray, " subset"]) -> Float[np.ndarray, " pool"]:
        """Of each row of ``factors``, what it counts in the mean over these members."""
        shares = np.zeros(len(self.factors))
        shares[members] = 1.0 / float(self.weights[members].sum())
        return shares


def _covariance(matrix: Float[np.ndarray, "target target"]) -> Float[np.ndarray, "target target"]:
    """The same without variances below 0 and correlations beyond 1, which differences of rounded numbers may have."""
    variances = np.maximum(matrix.diagonal(), 0.0)
    most = np.sqrt(np.outer(variances, variances))
    found = np.clip(matrix, -most, most)
    np.fill_diagonal(found, variances)
    return np.asarray(found)
