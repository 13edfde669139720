"""Predicts a metric of generated text, or another that jumps, by way of the loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, FitData, GradientProducts, MetricInfo, Prediction, Query, Run, groups_of
from gptfl.core.links import Link
from gptfl.core.queries import query_for
from gptfl.core.runs import cut_run
from gptfl.errors import DataError
from gptfl.estimators import average
from gptfl.estimators.baselines import (
    MeanRun,
    array_of,
    begun,
    check_fitted,
    clock_arrays,
    clock_from,
    places_of,
    timed,
    training_runs,
)
from gptfl.estimators.clock import Clock
from gptfl.estimators.exposure_gp.binary import likely
from gptfl.estimators.exposure_gp.calibration import parts_of
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.group_influence import Part
from gptfl.estimators.exposure_gp.intervals import LEVELS
from gptfl.estimators.through_loss.scatter import Scatter
from gptfl.estimators.through_loss.score_map import Departures, ScoreMap, fit_map
from gptfl.plugins.interfaces import EstimatorTags

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
FEWEST = 3
"""So many runs it takes to predict each part of them by the others."""
PREFIX = "loss "
"""Before the names of what the loss's own state holds."""
REACHES = tuple(NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS)
"""So many standard deviations on either side hold the ``LEVELS`` of a normal distribution."""

Weights = Float[np.ndarray, "target test"]


class ThroughLoss:
    """``exposure-gp`` of the loss, and from the predicted loss the metric.

    A greedy answer changes at once where one token overtakes another, and its score jumps: a rough function of the weights,
    of which effects that add up say little. The loss of the reference is a smooth one, and moves with it. So the loss is
    predicted, and a logistic regression (``score_map``) says what becomes of the metric where the loss departs from that of
    the average run. It is learned from predicted losses, each of a run by the others: what they miss makes slopes flatter
    and intervals wider. Where the loss says nothing of the metric, slopes are 0 and what is left is the average run.

    For metrics with two bounds in recordings that have the loss beside them. Influence is that on the loss, times how steeply
    the metric falls with it at the end of the average run. Intervals hold what was recorded of runs left out where as much
    was expected (``scatter``). What slopes are uncertain by is not among what widens influences.
    """

    name = "through-loss"
    tags = EstimatorTags(
        requires={"features", "loss"},
        takes={"gradients"},
        unseen={"train"},
        prefers=("gradients", "answer-state", "minilm"),
        blocks=True,
        counts_tokens=True,
    )
    steps_: Int[np.ndarray, " grid"]
    loss_: ExposureGp
    map_: ScoreMap
    scatter_: Scatter
    centre_: Float[np.ndarray, "grid test"]
    """The predicted loss of the average run, on the scale of its link."""
    first_: Float[np.ndarray, " test"]
    """The losses at the first recorded step."""
    error_: float
    """The root mean square of what predicted losses of runs left out are off by, on that scale."""
    clock_: Clock
    range_: tuple[float, float]
    higher_: bool
    binary_: bool
    notes_: tuple[str, ...] = ()

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def fit(self, data: FitData) -> Self:
        """Fit the loss to all runs and to all but each part of them, and the map to what comes of the latter.

        Raises ``DataError`` for fewer than three runs, without the loss or the features, and for a metric that isn't
        between two bounds.
        """
        low, high = data.metric.low, data.metric.high
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(
                f"{self.name} predicts metrics between two bounds, and {data.metric.name} has none", "use exposure-gp"
            )
        runs = training_runs(data)
        if not all(LOSS.name in run.metrics for run in runs):
            raise DataError(
                f"{self.name} needs the loss beside {data.metric.name}", "record both (gptfl collect --metric loss)"
            )
        if len(runs) < FEWEST:
            raise DataError(
                f"{self.name} needs {FEWEST} runs to fit, and there are {len(runs)}",
                "record more (gptfl collect --runs)",
            )
        average_run = MeanRun().fit(data)
        assert average_run.clock_ is not None
        self.steps_, self.clock_, self.range_ = average_run.steps_, average_run.clock_, (low, high)
        self.higher_ = data.metric.higher_is_better
        self.binary_ = data.metric.is_binary([data.recorded(run) for run in runs])
        losses = replace(data, metric=LOSS)
        self.loss_ = ExposureGp().fit(losses)
        self.notes_ = self.loss_.notes_
        predicted, parts = self._left_out(losses, runs)
        recorded = self._on_grid(runs, [run.metrics[LOSS.name] for run in runs])
        shares = (self._on_grid(runs, [data.recorded(run) for run in runs]) - low) / (high - low)
        self.first_ = average.mean_over_runs(np.stack([run.metrics[LOSS.name][0] for run in runs])[:, None])[0]
        self.centre_ = average.mean_over_runs(predicted)
        apart = self._link.to(recorded) - predicted
        self.error_ = float(np.sqrt(np.nanmean(apart[:, 1:] ** 2))) if np.isfinite(apart[:, 1:]).any() else 0.0
        # Where nothing was predicted of any run, the level alone is left.
        self.centre_ = np.where(
            np.isfinite(self.centre_), self.centre_, self._link.to(average.mean_over_runs(recorded))
        )
        cells = Departures.of(predicted - self.centre_, np.clip(shares, 0.0, 1.0))
        self.map_, expected = fit_map(cells, parts)
        # Before the first step of training nothing scatters.
        known = cells.known.copy()
        known[:, 0] &= len(self.steps_) == 1
        self.scatter_ = Scatter.of(expected[known], cells.shares[known], LEVELS)
        return self

    @property
    def _link(self) -> Link:
        return self.loss_.model_.link

    def _on_grid(
        self, runs: Sequence[Run], values: Sequence[Float[np.ndarray, "recorded test"]]
    ) -> Float[np.ndarray, "run grid test"]:
        return np.stack([average.resample(r.steps, v, self.steps_) for r, v in zip(runs, values, strict=True)])

    def _left_out(
        self, losses: FitData, runs: Sequence[Run]
    ) -> tuple[Float[np.ndarray, "run grid test"], Int[np.ndarray, " run"]]:
        """The losses of each run as the others predict them, on the scale of the link, and each run's part.

        Runs that belong together, such as a pair of leave-out runs, are in one part.
        """
        parts = parts_of(groups_of(runs))
        found: list[np.ndarray] = [np.empty(0)] * len(runs)
        for part in np.unique(parts):
            others = tuple(run for run, own in zip(runs, parts, strict=True) if own != part)
            kept = replace(losses, fit_runs=others, validation_runs=())
            fitted = ExposureGp(link=self._link.name).fit_values(kept)
            known = MeanRun().fit(kept)
            for place in np.flatnonzero(parts == part).tolist():
                run = runs[place]
                inside = np.flatnonzero(known.knows(run))
                values = np.full(run.metrics[LOSS.name].shape, np.nan)
                if len(inside):
                    values[inside] = fitted.predict(query_for([cut_run(run, inside)], LOSS)).values[0]
                found[place] = self._link.to(values)
        return self._on_grid(runs, found), parts

    def predict(self, query: Query) -> Prediction:
        """The asked runs with their intervals. Raises ``DataError`` beyond the recorded steps."""
        check_fitted(self)
        low, high = self.range_
        seen = places_of(query, len(self.first_))
        if (seen < 0).any():
            raise DataError(f"{self.name} knows no test example that it wasn't fitted to", "use exposure-gp")
        first = np.broadcast_to(self.first_[seen], query.first.shape).astype(np.float64)
        loss = self.loss_.predict(replace(query, first=first, observed=None))
        values, steep = np.empty_like(loss.values), np.empty_like(loss.values)
        every = np.arange(len(query.steps))
        for runs, steps in timed(self.clock_, query, self.steps_):
            levels, centre = (
                average.interpolate(self.steps_, one, steps)[:, seen] for one in (self.map_.levels, self.centre_)
            )
            own = ScoreMap(levels, self.map_.slopes[seen])
            shares = own.expected(self._link.to(loss.values[runs]) - centre)
            values[np.ix_(runs, every)], steep[np.ix_(runs, every)] = shares, own.steepness(shares)
        beyond = np.abs(steep) * self._beyond(loss)
        intervals = {}
        for place, level in enumerate(LEVELS):
            lower, upper = likely(values, level) if self.binary_ else self.scatter_.at(values, place)
            reach = 0.0 if self.binary_ else REACHES[place] * beyond
            ends = np.maximum(lower - reach, 0.0), np.minimum(upper + reach, 1.0)
            lower, upper = (begun(low + (high - low) * end, self.clock_, query, self.steps_) for end in ends)
            intervals[level] = lower, upper
        whole = begun(low + (high - low) * values, self.clock_, query, self.steps_)
        return Prediction(whole, intervals, loss.novelty)

    def _beyond(self, loss: Prediction) -> Float[np.ndarray, "run recorded test"]:
        """By how much the loss is less certain than those of the runs that the map was learned from."""
        if LEVELS[0] not in loss.intervals:
            return np.zeros_like(loss.values)
        lower, upper = (self._link.to(end) for end in loss.intervals[LEVELS[0]])
        spread = np.abs(upper - lower) / 2 / REACHES[0]
        return np.asarray(np.sqrt(np.maximum(spread**2 - self.error_**2, 0.0)))

    def _on_loss(self, weights: Float[np.ndarray, "... test"]) -> Float[np.ndarray, "... test"]:
        """Weights of losses whose decrease is what an increase (for the better) of the weighted metric comes to."""
        low, high = self.range_
        shares = self.map_.expected(np.zeros((1, *self.centre_.shape)))[0, -1]
        mean = self._link.back(self.centre_[-1])
        change = (high - low) * self.map_.steepness(shares) * self._link.slope(mean)
        return np.asarray(weights * (-change if self.higher_ else change))

    def influence_of(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Weights,
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
        """Influence in the metric's units, and its standard deviation (see ``optional.TellsInfluence``).

        Args:
            places: the examples' places in the pool fitted, -1 for one that is not in it.
            vectors: their rows of each feature set fitted, by the set's name.
            weights: of the test examples in each sum.
            tokens: how many each example is trained on, NaN where that isn't known; None where all count alike.
        """
        check_fitted(self)
        return self.loss_.influence_of(places, vectors, self._on_loss(weights), tokens)

    def influence_on_target(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Float[np.ndarray, " test"],
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"], Float[np.ndarray, " example"]] | None:
        """Influence on one weighted sum by its own signal and noise (see ``optional.HasTargetInfluence``).

        Args:
            places: the examples' places in the pool fitted, -1 for one that is not in it.
            vectors: their rows of each feature set fitted, by the set's name.
            weights: of the test examples in the sum.
            tokens: how many each example is trained on, NaN where that isn't known; None where all count alike.
        """
        check_fitted(self)
        return self.loss_.influence_on_target(places, vectors, self._on_loss(weights), tokens)

    def influence_of_groups(
        self,
        parts: Iterable[Part],
        count: int,
        weights: Float[np.ndarray, " test"],
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]] | None:
        """The influence of groups (see ``optional.HasGroupInfluence``).

        Args:
            parts: some examples at a time: places, vectors, and the number of each one's group.
            count: how many groups there are.
            weights: of the test examples in the sum.
            tokens: how many each example of all parts is trained on, in their order; None where all count alike.
        """
        check_fitted(self)
        return self.loss_.influence_of_groups(parts, count, self._on_loss(weights), tokens)

    @property
    def lacks_vectors(self) -> bool:
        """Whether it was restored without the vectors of the pool."""
        return hasattr(self, "loss_") and self.loss_.lacks_vectors

    def use_vectors(self, features: Features) -> None:
        """Take the vectors of the pool that it was fitted to. Raises ``DataError`` where they aren't of these examples."""
        self.loss_.use_vectors(features)

    @property
    def lacks_products(self) -> bool:
        """Whether it was restored without the gradient products, which the recording has."""
        return hasattr(self, "loss_") and self.loss_.lacks_products

    def use_products(self, gradients: GradientProducts) -> None:
        """Take the products that it was fitted to. Raises ``DataError`` where they are others."""
        self.loss_.use_products(gradients)

    def state(self) -> Mapping[str, np.ndarray]:
        """That of the loss, its names after ``loss``, and the map.

        ``steps`` [grid]; ``levels`` and ``centre`` [grid, test], ``slopes`` and ``first`` [test]; ``expected`` [bin] and
        ``bounds`` [bin, level, 2]; ``map`` [5]: error, bounds, whether higher is better and whether it is 0 or 1; ``clock``
        as in mean-run.
        """
        check_fitted(self)
        known = (self.error_, *self.range_, float(self.higher_), float(self.binary_))
        return {
            **{PREFIX + name: array for name, array in self.loss_.state().items()},
            "steps": self.steps_,
            "levels": self.map_.levels,
            "slopes": self.map_.slopes,
            "centre": self.centre_,
            "first": self.first_,
            "expected": self.scatter_.expected,
            "bounds": self.scatter_.bounds,
            "map": np.array(known, dtype=np.float64),
            **clock_arrays(self.clock_),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` for what isn't that."""
        own = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
        self.loss_ = ExposureGp().restore(own)
        self.steps_ = array_of(self.name, state, "steps", 1)
        levels, centre = (array_of(self.name, state, name, 2) for name in ("levels", "centre"))
        slopes, self.first_, expected, known = (
            array_of(self.name, state, name, 1) for name in ("slopes", "first", "expected", "map")
        )
        ends = array_of(self.name, state, "bounds", 3)
        clock = clock_from(self.name, state)
        shape = (len(self.steps_), len(slopes))
        alike = levels.shape == centre.shape == shape and self.first_.shape == slopes.shape and len(known) == 5
        alike = alike and ends.shape == (len(expected), len(LEVELS), 2) and len(expected) > 0
        whole = (levels, centre, slopes, self.first_, expected, ends, known)
        if not (alike and all(bool(np.isfinite(one).all()) for one in whole)) or clock is None or self.loss_.single_:
            raise DataError(f"{self.name}: its arrays don't agree", "fit it again (gptfl fit)")
        self.centre_, self.clock_ = centre, clock
        self.error_, low, high, higher, binary = known.tolist()
        self.map_, self.range_, self.scatter_ = ScoreMap(levels, slopes), (low, high), Scatter(expected, ends)
        self.higher_, self.binary_ = bool(higher), bool(binary)
        return self
