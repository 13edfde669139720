"""What the gradients at points of one reference run predict of any other run (Pruthi et al., 2020)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.plugins import (
    DataError,
    EstimatorTags,
    FitData,
    GradientProducts,
    Prediction,
    Query,
    flag,
    relative_weights,
    whole,
)
from gptfl_tracin.calibration import least_squares_scale, scale_note
from gptfl_tracin.checks import check_loss, check_tests, dominance_notes, scale_of
from gptfl_tracin.points import Points, mean_rates, spread_evenly

ALL = "all"
ARRAYS = {"steps": 1, "length": 0, "products": 3, "itself": 2, "rates": 1, "scale": 0}


class FromReference:
    """What both predictive estimators share: products at chosen points, and a scale of 1 unless calibrated."""

    name: str
    tags = EstimatorTags(requires={"gradients"}, metrics={"loss"})

    preconditioned: bool
    calibrate: bool
    interpolate: bool = False
    points_: Points
    scale_: float
    notes_: tuple[str, ...] = ()

    def _common(self, preconditioned: object, calibrate: object) -> None:
        self.preconditioned = flag(f"estimator {self.name}", "preconditioned", preconditioned)
        self.calibrate = flag(f"estimator {self.name}", "calibrate", calibrate)

    def _chosen(self, places: Int[np.ndarray, " usable"], gradients: GradientProducts) -> Int[np.ndarray, " used"]:
        """Of the points that have products, those to use."""
        raise NotImplementedError

    def fit(self, data: FitData) -> Self:
        """Take the products at the chosen points; with ``calibrate``, fit the scale to the training runs.

        Raises ``DataError`` where there are no gradients, or too few points.
        """
        check_loss(self.name, data.metric.name)
        gradients = data.gradients
        if gradients is None:
            raise DataError(
                f"{self.name} needs gradients, which the recording doesn't hold",
                "record them with gptfl collect --gradients reference",
            )
        products = gradients.preconditioned if self.preconditioned else gradients.raw
        itself = gradients.self_preconditioned if self.preconditioned else gradients.self_raw
        usable = np.flatnonzero([np.isfinite(one).all() for one in products] & np.isfinite(itself).all(axis=1))
        if len(usable) == 0:
            which = "preconditioned gradient products" if self.preconditioned else "gradient products"
            raise DataError(
                f"{self.name} finds no point with {which} in the recording",
                "record more points (gptfl collect --gradients reference)",
            )
        used = self._chosen(usable, gradients)
        steps = gradients.steps[used].astype(np.int64)
        length = len(gradients.learning_rates)
        rates = mean_rates(steps, gradients.learning_rates)
        self.points_ = Points(steps, length, products[used], itself[used], rates, relative_weights(data.pool))
        self.scale_ = 1.0
        self.notes_ = dominance_notes(self.name, self.points_) if self.preconditioned else ()
        if self.calibrate:
            runs = data.fit_runs + data.validation_runs
            trajectories = [
                self._trajectory(run.curriculum.batches, run.curriculum.learning_rates, run.steps) for run in runs
            ]
            self.scale_ = least_squares_scale(self.name, trajectories, [data.recorded(run) for run in runs])
            self.notes_ += (scale_note(self.name, self.scale_),)
        return self

    def _trajectory(
        self,
        batches: Int[np.ndarray, "step batch"],
        rates: Float[np.ndarray, " step"],
        steps: Int[np.ndarray, " recorded"],
    ) -> Float[np.ndarray, "recorded test"]:
        """The change since ``steps[0]`` at each of the steps."""
        changes = self.scale_ * self.points_.changes(batches, rates, self.interpolate)
        total = np.concatenate([np.zeros((1, changes.shape[1])), np.cumsum(changes, axis=0)])
        return np.asarray(total[steps] - total[steps[0]])

    def predict(self, query: Query) -> Prediction:
        """The first value plus every predicted change since. Raises ``DataError`` for unknown examples or steps."""
        _, pool, tests = self._fitted().products.shape
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
        runs = zip(query.batches, query.learning_rates, strict=True)
        trajectories = [self._trajectory(batches, rates, query.steps) for batches, rates in runs]
        return Prediction(
            query.first[:, None, :] + np.array(trajectories).reshape(len(trajectories), len(query.steps), tests)
        )

    def flops(self, query: Query) -> float:
        """Adding up the products of every example seen, then scaling and adding up the steps."""
        runs, tests = (float(size) for size in query.first.shape)
        steps = float(query.batches.shape[1])
        return tests * (float((query.batches >= 0).sum()) + 3.0 * runs * steps)

    def influence(self) -> Float[np.ndarray, "pool test"]:
        """How much lower each test example's loss gets if a training example is taken once at every point.

        The sum over the points of the reference run's mean step size there times the gradients' product, times
        the scale: TracIn's checkpoint score. In a batch of B, an example's share of that is 1/B.
        """
        points = self._fitted()
        return np.asarray(self.scale_ * np.einsum("k,kij->ij", points.rates, points.products))

    def self_influence(self) -> Float[np.ndarray, " pool"]:
        """The same of each training example on its own loss; large for one that has to be learned by heart."""
        points = self._fitted()
        return np.asarray(self.scale_ * (points.rates @ points.itself))

    def _fitted(self) -> Points:
        if not hasattr(self, "points_"):
            raise DataError(f"{self.name} isn't fitted", "call fit or restore first")
        return self.points_

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps``, ``products``, ``itself`` and ``rates`` of the points, ``length`` of the reference run, ``scale``."""
        points = self._fitted()
        return {
            "steps": points.steps,
            "length": np.array(points.length),
            "products": points.products,
            "itself": points.itself,
            "rates": points.rates,
            "scale": np.array(self.scale_),
            **({} if points.relative is None else {"relative": points.relative}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        missing = [name for name, axes in ARRAYS.items() if name not in state or np.ndim(state[name]) != axes]
        if missing:
            raise DataError(
                f"{self.name}: its array {missing[0]!r} is missing or ill-shaped", "fit it again (gptfl fit)"
            )
        steps, products, itself, rates = (state[name] for name in ("steps", "products", "itself", "rates"))
        count = len(steps)
        if count == 0 or itself.shape != products.shape[:2] or not count == len(products) == len(rates):
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        relative = state.get("relative")
        if relative is not None and relative.shape != products.shape[1:2]:
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        self.points_ = Points(steps.astype(np.int64), int(state["length"]), products, itself, rates, relative)
        self.scale_ = scale_of(self.name, state)
        return self


class TracInCP(FromReference):
    """Change at step t: -rate_t * mean over the batch of the gradients' products at the point t goes by.

    That point is the last of the reference run at or before the same share of the run's length; with
    ``interpolate``, products go linearly from point to point. ``checkpoints`` takes that many of the points,
    spread evenly. ``preconditioned`` divides the training gradients by the root of the optimiser's second moment.
    ``calibrate`` multiplies every change by one number, fitted to the training runs.
    """

    name = "tracin-cp"
    tags = replace(FromReference.tags, baseline_selector=True)

    def __init__(
        self,
        preconditioned: bool = False,
        checkpoints: int | str = ALL,
        interpolate: bool = False,
        calibrate: bool = False,
    ) -> None:
        self._common(preconditioned, calibrate)
        self.interpolate = flag(f"estimator {self.name}", "interpolate", interpolate)
        who = f"estimator {self.name}"
        self.checkpoints = ALL if checkpoints == ALL else whole(who, "checkpoints", checkpoints, 1)

    def settings(self) -> Mapping[str, Any]:
        """All four."""
        return {
            "preconditioned": self.preconditioned,
            "checkpoints": self.checkpoints,
            "interpolate": self.interpolate,
            "calibrate": self.calibrate,
        }

    def _chosen(self, places: Int[np.ndarray, " usable"], gradients: GradientProducts) -> Int[np.ndarray, " used"]:
        # No step goes by a point at the very end, except half of it where there is interpolation.
        before = places[gradients.steps[places] < len(gradients.learning_rates)]
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

    def __init__(self, preconditioned: bool = False, calibrate: bool = False) -> None:
        self._common(preconditioned, calibrate)

    def settings(self) -> Mapping[str, Any]:
        """Both."""
        return {"preconditioned": self.preconditioned, "calibrate": self.calibrate}

    def _chosen(self, places: Int[np.ndarray, " usable"], gradients: GradientProducts) -> Int[np.ndarray, " used"]:
        return places[-1:]
