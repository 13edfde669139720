"""What the gradients at points of one reference run predict of any other run (Pruthi et al., 2020)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_products import all_finite
from gptfl.core.blocked_rows import row_blocks
from gptfl.core.queries import query_for, same_steps
from gptfl.plugins import (
    DataError,
    EstimatorTags,
    Features,
    FitData,
    GradientProducts,
    Prediction,
    Query,
    Run,
    check_memory,
    flag,
    free_memory,
    gigabytes,
    relative_weights,
    whole,
)
from gptfl_tracin.calibration import least_squares_scale, scale_note
from gptfl_tracin.checks import check_loss, check_tests, dominance_notes, scale_of
from gptfl_tracin.kept import missing_products, products_from, products_state
from gptfl_tracin.points import Points, mean_rates, spread_evenly
from gptfl_tracin.products import ProductsElsewhere, on_mean
from gptfl_tracin.sketches import SketchedPoints, usual_rates

ALL = "all"
ARRAYS = {"steps": 1, "length": 0, "itself": 2, "rates": 1, "scale": 0}


class FromReference:
    """What both predictive estimators share: products at chosen points, and a scale of 1 unless calibrated."""

    name: str
    tags = EstimatorTags(requires={"gradients"}, metrics={"loss"}, blocks=True)

    preconditioned: bool
    calibrate: bool
    sketches: bool
    interpolate: bool = False
    points_: Points
    scale_: float
    notes_: tuple[str, ...] = ()

    def _common(self, preconditioned: object, calibrate: object, sketches: object) -> None:
        self.preconditioned = flag(f"estimator {self.name}", "preconditioned", preconditioned)
        self.calibrate = flag(f"estimator {self.name}", "calibrate", calibrate)
        self.sketches = flag(f"estimator {self.name}", "sketches", sketches)
        if self.sketches:
            self.tags = replace(type(self).tags, requires={"features"}, prefers=("gradients",))

    def settings(self) -> Mapping[str, Any]:
        """Those that both have; ``sketches`` where it is true, so that fits from before it keep their keys."""
        found = {"preconditioned": self.preconditioned, "calibrate": self.calibrate}
        return {**found, "sketches": True} if self.sketches else found

    def _chosen(
        self, places: Int[np.ndarray, " usable"], steps: Int[np.ndarray, " point"], length: int
    ) -> Int[np.ndarray, " used"]:
        """Of the points that have products, those to use."""
        raise NotImplementedError

    def fit(self, data: FitData) -> Self:
        """Take the products at the chosen points; with ``calibrate``, fit the scale to the training runs.

        Raises ``DataError`` where there are no gradients or sketches of them, or too few points.
        """
        check_loss(self.name, data.metric.name)
        runs = data.fit_runs + data.validation_runs
        self.scale_, self.notes_ = 1.0, ()
        self.points_ = self._sketched(data, runs) if self.sketches else self._recorded(data)
        self.notes_ += dominance_notes(self.name, self.points_) if self.preconditioned else ()
        if self.calibrate:
            trajectories: list[Float[np.ndarray, "recorded test"]] = [np.empty(0)] * len(runs)
            for members in same_steps(runs):
                query = query_for([runs[place] for place in members], data.metric)
                changes = self._changes(query.batches, query.learning_rates, query.steps)
                for place, one in zip(members, changes, strict=True):
                    trajectories[place] = one
            self.scale_ = least_squares_scale(self.name, trajectories, [data.recorded(run) for run in runs])
            self.notes_ += (scale_note(self.name, self.scale_),)
        return self

    def _recorded(self, data: FitData) -> Points:
        """The points of the gradient products that were recorded."""
        gradients = data.gradients
        if gradients is None:
            raise DataError(
                f"{self.name} needs gradients, which the recording doesn't hold",
                "go by sketches (sketches=true), or record them with gptfl collect --gradients reference",
            )
        products = gradients.preconditioned if self.preconditioned else gradients.raw
        itself = gradients.self_preconditioned if self.preconditioned else gradients.self_raw
        finite = np.isfinite(itself).all(axis=1)
        usable = np.flatnonzero([own and all_finite(one) for own, one in zip(finite, products, strict=True)])
        if len(usable) == 0:
            which = "preconditioned gradient products" if self.preconditioned else "gradient products"
            raise DataError(
                f"{self.name} finds no point with {which} in the recording",
                "record more points (gptfl collect --gradients reference)",
            )
        length = len(gradients.learning_rates)
        used = self._chosen(usable, gradients.steps, length)
        steps = gradients.steps[used].astype(np.int64)
        rates = mean_rates(steps, gradients.learning_rates)
        return Points(steps, length, [products[k] for k in used], itself[used], rates, relative_weights(data.pool))

    def _sketched(self, data: FitData, runs: Sequence[Run]) -> Points:
        """The points of the sketches that are among the features; their run's step sizes are taken to be the usual ones."""
        points = SketchedPoints.of(self.name, data.features, self.preconditioned)
        rates = usual_rates(runs)
        used = points.at(self._chosen(np.arange(len(points.steps)), points.steps, len(rates)))
        assert data.features is not None  # it has points
        itself, width = used.itself(data.features), used.products[0].test.shape[1]
        self.notes_ += (
            f"{self.name}: gradient products are those of sketches of {width} numbers, and the reference run's step sizes the "
            "mean of the runs fitted",
        )
        weights = relative_weights(data.pool)
        return Points(used.steps, len(rates), used.products, itself, mean_rates(used.steps, rates), weights)

    def _changes(
        self,
        batches: Int[np.ndarray, "run step batch"],
        rates: Float[np.ndarray, "run step"],
        steps: Int[np.ndarray, " recorded"],
    ) -> Float[np.ndarray, "run recorded test"]:
        """The change since ``steps[0]`` at each of the steps."""
        return np.asarray(self.scale_ * self.points_.changes(batches, rates, steps, self.interpolate))

    def predict(self, query: Query) -> Prediction:
        """The first value plus every predicted change since. Raises ``DataError`` for unknown examples or steps."""
        pool, tests = self._fitted().shape
        check_tests(self.name, query, tests)
        highest = int(query.batches.max(initial=-1))
        if highest >= pool:
            raise DataError(
                f"{self.name} has gradients of a pool of {pool}, asked about example number {highest}",
                "ask about the examples of the recording",
            )
        if int(query.steps[-1]) > query.batches.shape[1]:
            raise DataError(
                f"{self.name} is asked about step {query.steps[-1]} of {query.batches.shape[1]} batches",
                "give a batch for every step",
            )
        changes = self._changes(query.batches, query.learning_rates, query.steps)
        return Prediction(query.first[:, None, :] + changes)

    def flops(self, query: Query) -> float:
        """Adding up the products of every example seen, then scaling and adding up the steps."""
        runs, tests = (float(size) for size in query.first.shape)
        steps = float(query.batches.shape[1])
        return tests * (float((query.batches >= 0).sum()) + 3.0 * runs * steps)

    def influence(self) -> Float[np.ndarray, "pool test"]:
        """How much lower each test example's loss gets if a training example is taken once at every point.

        The sum over the points of the reference run's mean step size there times the gradients' product, times
        the scale: TracIn's checkpoint score. In a batch of B, an example's share of that is 1/B. Raises
        ``ResourceError`` where there is too little memory for all pairs.
        """
        points = self._fitted()
        needed = 8 * math.prod(points.shape)
        takes = f"{self.name}: influence on each of {points.shape[1]} test examples takes {gigabytes(needed)} of memory"
        check_memory(takes, needed, free_memory(), "ask about their mean, or one at a time")
        found = np.zeros(points.shape)
        for rate, products in zip(points.rates, points.products, strict=True):
            for start, rows in row_blocks(products):
                found[start : start + len(rows)] += self.scale_ * rate * rows
        return found

    def mean_influence(self, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " pool"]:
        """``influence`` on the mean of some test examples, without an array of all pairs."""
        points = self._fitted()
        found = np.zeros(points.shape[0])
        for rate, products in zip(points.rates, points.products, strict=True):
            found += self.scale_ * rate * on_mean(products, tests)
        return found

    def self_influence(self) -> Float[np.ndarray, " pool"]:
        """The same of each training example on its own loss; large for one that has to be learned by heart."""
        points = self._fitted()
        return np.asarray(self.scale_ * (points.rates @ points.itself))

    def _fitted(self) -> Points:
        if not hasattr(self, "points_"):
            raise DataError(f"{self.name} isn't fitted", "call fit or restore first")
        return self.points_

    @property
    def lacks_products(self) -> bool:
        """Whether it was restored without the gradient products, which the recording has."""
        return not self.sketches and self._lacks

    @property
    def lacks_vectors(self) -> bool:
        """Whether it was restored without the sketches, which are among the features."""
        return self.sketches and self._lacks

    @property
    def _lacks(self) -> bool:
        return hasattr(self, "points_") and isinstance(self.points_.products[0], ProductsElsewhere)

    def use_products(self, gradients: GradientProducts) -> None:
        """Take the products that it was fitted to. Raises ``DataError`` where they are others."""
        points = self._fitted()
        products = gradients.preconditioned if self.preconditioned else gradients.raw
        itself = gradients.self_preconditioned if self.preconditioned else gradients.self_raw
        places = np.flatnonzero(np.isin(gradients.steps, points.steps))
        if len(places) != len(points.steps) or not np.array_equal(itself[places], points.itself):
            raise DataError(
                f"{self.name} was fitted to other gradient products than the recording holds", "fit it again"
            )
        self.points_ = replace(points, products=[products[k] for k in places])

    def use_vectors(self, features: Features) -> None:
        """Take the sketches that it was fitted to. Raises ``DataError`` where they are others."""
        points, found = self._fitted(), SketchedPoints.of(self.name, features, self.preconditioned)
        places = np.flatnonzero(np.isin(found.steps, points.steps))
        used = found.at(places)
        if len(places) != len(points.steps) or used.products[0].shape != points.shape:
            raise DataError(f"{self.name} was fitted to other sketches than these features hold", "fit it again")
        self.points_ = replace(points, products=used.products)

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps``, ``itself`` and ``rates`` of the points, ``length`` of the reference run, ``scale``, and ``products``.

        Of sketches these are ``train`` and ``test``. What is read some rows at a time isn't kept: ``shape`` says how
        large it is.
        """
        points = self._fitted()
        return {
            "steps": points.steps,
            "length": np.array(points.length),
            **products_state(points.products),
            "itself": points.itself,
            "rates": points.rates,
            "scale": np.array(self.scale_),
            **({} if points.relative is None else {"relative": points.relative}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        missing = [name for name, axes in ARRAYS.items() if name not in state or np.ndim(state[name]) != axes]
        missing += missing_products(state, self.sketches)
        if missing:
            raise DataError(
                f"{self.name}: its array {missing[0]!r} is missing or ill-shaped", "fit it again (gptfl fit)"
            )
        steps, itself, rates = (state[name] for name in ("steps", "itself", "rates"))
        count, relative = len(steps), state.get("relative")
        products = products_from(state, count)
        shapes = {(one.shape[0], one.shape[1]) for one in products}
        if (
            count == 0
            or len(shapes) != 1
            or itself.shape != (len(products), products[0].shape[0])
            or not count == len(products) == len(rates)
            or (relative is not None and relative.shape != itself.shape[1:])
        ):
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        self.points_ = Points(steps.astype(np.int64), int(state["length"]), products, itself, rates, relative)
        self.scale_ = scale_of(self.name, state)
        return self


class TracInCP(FromReference):
    """Change at step t: -rate_t * mean over the batch of the gradients' products at the point t goes by.

    That point is the last of the reference run at or before the same share of the run's length; with
    ``interpolate``, products go linearly from point to point. ``checkpoints`` takes that many of the points,
    spread evenly. ``preconditioned`` divides the training gradients by the root of the optimiser's second moment.
    ``calibrate`` multiplies every change by one number, fitted to the training runs. With ``sketches`` products are
    those of the sketches of the encoder ``gradients``, in place of recorded ones.
    """

    name = "tracin-cp"
    tags = replace(FromReference.tags, baseline_selector=True)

    def __init__(
        self,
        preconditioned: bool = False,
        checkpoints: int | str = ALL,
        interpolate: bool = False,
        calibrate: bool = False,
        sketches: bool = False,
    ) -> None:
        self._common(preconditioned, calibrate, sketches)
        self.interpolate = flag(f"estimator {self.name}", "interpolate", interpolate)
        who = f"estimator {self.name}"
        self.checkpoints = ALL if checkpoints == ALL else whole(who, "checkpoints", checkpoints, 1)

    def settings(self) -> Mapping[str, Any]:
        """All five, ``sketches`` where it is true."""
        return {**super().settings(), "checkpoints": self.checkpoints, "interpolate": self.interpolate}

    def _chosen(
        self, places: Int[np.ndarray, " usable"], steps: Int[np.ndarray, " point"], length: int
    ) -> Int[np.ndarray, " used"]:
        # No step goes by a point at the very end, except half of it where there is interpolation.
        before = places[steps[places] < length]
        known = places if self.interpolate or len(before) == 0 else before
        if self.checkpoints == ALL:
            return known
        number = int(self.checkpoints)
        if number > len(known):
            raise DataError(
                f"tracin-cp: checkpoints is {number}, and the recording has {len(known)} that it can go by",
                f"give at most {len(known)}, or record more points (gptfl collect --gradients reference)",
            )
        return np.asarray(known[spread_evenly(len(known), number)])


class GradDot(FromReference):
    """The same with the products of one point for every step: the last (Charpiat et al., 2019)."""

    name = "grad-dot"

    def __init__(self, preconditioned: bool = False, calibrate: bool = False, sketches: bool = False) -> None:
        self._common(preconditioned, calibrate, sketches)

    def _chosen(
        self, places: Int[np.ndarray, " usable"], steps: Int[np.ndarray, " point"], length: int
    ) -> Int[np.ndarray, " used"]:
        return places[-1:]
