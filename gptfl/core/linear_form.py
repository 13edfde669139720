"""A fitted estimator as a few small arrays: what it predicts for any subset of the pool, without the estimator."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.links import Link


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
        place = self.factors[members].sum(axis=0) / weight
        distance = np.einsum("tkl,k,l->t", self.quadratic, place, place)
        distance += self.squares[members].sum(axis=0) / weight**2
        before = self.spread * np.maximum(distance, 0.0)[:, None]
        known = np.einsum("tr,trc->tc", (self.rows @ state) ** 2, self.known)
        return np.maximum(before - known, 0.0), before


@dataclass(frozen=True, slots=True)
class FormBreadth:
    """Over how many examples the exposures of recorded runs are spread, at least and at most, and what others cost.

    For each factor of e outside of these, a run may end elsewhere by ``share`` of ``moved``, how far the average run has
    come; a difference of logarithms of up to ``rounding`` is none. Columns are those of ``FormVariance``.
    """

    least: Float[np.ndarray, " recorded"]
    most: Float[np.ndarray, " recorded"]
    share: float
    rounding: float
    moved: Float[np.ndarray, "recorded column"]

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
    intervals of level ``sure`` reach.
    """

    scale: float
    reach: Mapping[float, float]
    sure: float
    extremes: Float[np.ndarray, "2 test"]


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
        beside = (self.breadth.share * apart * self.breadth.moved) ** 2
        spread = np.sqrt((signal + self.variance.noise) * scale**2 + beside)
        ends = [(one[-1, :tests] + beside[-1, :tests]).sum() for one in (signal, before)]
        values = self.link.back(even)
        bounds = {}
        for level, reach in self.intervals.reach.items():
            low, high = (self.link.back(even + side * reach * spread[:, :tests]) for side in (-1.0, 1.0))
            if level == self.intervals.sure:
                least, most = self.intervals.extremes
                low = np.where(values > most, np.minimum(low, most), low)
                high = np.where(values < least, np.maximum(high, least), high)
            low[0] = high[0] = self.first
            bounds[level] = low, high
        if self.trials:
            values = (self.trials * np.clip(even, 0.0, 1.0) + 0.5) / (self.trials + 1.0)
        values[0] = self.first
        effect = float(np.sqrt(signal[-1, tests] * scale**2 + beside[-1, tests]))
        novelty = float(np.clip(ends[0] / ends[1], 0.0, 1.0)) if ends[1] > 0 else 0.0
        return LinearPrediction(values, bounds, spread[:, tests], effect, novelty)
