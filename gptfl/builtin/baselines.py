"""The honest floor: what a recording predicts without any influence of single examples.

These estimators hold nothing back, so they learn from the validation runs too: an estimator that
stops early has seen those as well, and the mean of more runs is the harder one to beat.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.errors import DataError
from gptfl.records import FitData, Prediction, Query, Run, classes_of, in_order
from gptfl.settings import number
from gptfl.simulator import average
from gptfl.simulator.exposures import exposures, shares
from gptfl.simulator.ridge import STRENGTHS, fit_ridge, leave_one_out_error


class Persistence:
    """Nothing changes: every step repeats the first value."""

    name = "persistence"
    requires: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def fit(self, data: FitData) -> Self:
        """Nothing to learn."""
        return self

    def predict(self, query: Query) -> Prediction:
        """The first value of each test example, again and again."""
        return Prediction(np.repeat(query.first[:, None, :], len(query.steps), axis=1).astype(np.float64))

    def state(self) -> Mapping[str, np.ndarray]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Nothing to take back."""
        return self


class MeanRun:
    """Every run goes like the average recorded run, whatever its curriculum.

    Only ``values[:, 0]`` is the given first value; from there on the average is predicted as it is.
    """

    name = "mean-run"
    requires: frozenset[str] = frozenset()

    steps_: Int[np.ndarray, " grid"]
    mean_: Float[np.ndarray, "grid test"]

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def fit(self, data: FitData) -> Self:
        """Average the runs to fit and to validate, at every step that one of them recorded."""
        self.steps_, self.mean_ = average_run(training_runs(data), data.metric.name)
        return self

    def predict(self, query: Query) -> Prediction:
        """The average run at the asked steps. Raises ``DataError`` beyond the recorded ones."""
        _check_fitted(self)
        _check_tests(query, self.mean_.shape[1])
        mean = average.interpolate(self.steps_, self.mean_, query.steps[1:])
        values = np.empty((len(query.first), len(query.steps), self.mean_.shape[1]))
        values[:, 0] = query.first
        values[:, 1:] = mean
        return Prediction(values)

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps`` [grid] and ``mean`` [grid, test]."""
        _check_fitted(self)
        return {"steps": self.steps_, "mean": self.mean_}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave."""
        self.steps_, self.mean_ = _array(self.name, state, "steps", 1), _array(self.name, state, "mean", 2)
        if len(self.mean_) != len(self.steps_) or len(self.steps_) == 0:
            raise DataError(f"{self.name}: 'mean' has no row for each step", "fit it again (gptfl fit)")
        return self


class ClassShare:
    """Mean-run plus what each class's share of the examples seen so far explains.

    In a mixture of tasks, each class of each task is one, and a task without classes is one by itself. At every step, the deviation of each test example is regressed on the share of each class,
    examples weighted by the step size at which they were seen. ``strength`` is the ridge penalty in
    multiples of the shares' variance; None takes the one with the least leave-one-run-out error
    over all steps and test examples, infinity (mean-run itself) among the candidates.
    """

    name = "class-share"
    requires: frozenset[str] = frozenset({"classes"})

    steps_: Int[np.ndarray, " grid"]
    intercept_: Float[np.ndarray, "grid test"]
    slope_: Float[np.ndarray, "grid class test"]
    classes_: Int[np.ndarray, " pool"]

    def __init__(self, strength: float | None = None) -> None:
        self.strength = (
            None if strength is None else number(f"estimator {self.name}", "strength", strength, positive=True)
        )

    def settings(self) -> Mapping[str, Any]:
        """The ridge penalty, or None where it is chosen."""
        return {"strength": self.strength}

    def fit(self, data: FitData) -> Self:
        """Regress each deviation on the class shares, at every step of the average run's grid."""
        runs = training_runs(data)
        anchor = MeanRun().fit(data)
        self.steps_ = anchor.steps_
        self.classes_ = _class_indices(data)
        share = np.concatenate([self._shares_of(run) for run in runs])
        recorded = np.stack([average.resample(run.steps, data.recorded(run), self.steps_) for run in runs])
        strength = _choose_strength(share, recorded) if self.strength is None else self.strength
        self.intercept_ = anchor.mean_.copy()
        self.slope_ = np.zeros((len(self.steps_), share.shape[2], recorded.shape[2]))
        for step in range(len(self.steps_)):
            for rows, tests in _complete_blocks(recorded[:, step]):
                block = recorded[:, step][np.ix_(rows, tests)]
                intercept, slope = fit_ridge(share[rows, step], block, strength)
                self.intercept_[step, tests], self.slope_[step][:, tests] = intercept, slope
        return self

    def _shares_of(self, run: Run) -> Float[np.ndarray, "1 grid class"]:
        curriculum = run.curriculum
        return self._shares(curriculum.batches[None], curriculum.learning_rates[None], self.steps_)

    def _shares(
        self,
        batches: Int[np.ndarray, "run step batch"],
        learning_rates: Float[np.ndarray, "run step"],
        steps: Int[np.ndarray, " recorded"],
    ) -> Float[np.ndarray, "run recorded class"]:
        return shares(exposures(batches, learning_rates, steps, len(self.classes_), self.classes_))

    def predict(self, query: Query) -> Prediction:
        """Mean-run plus the shares' part. Raises ``DataError`` beyond the recorded steps."""
        _check_fitted(self)
        _check_tests(query, self.intercept_.shape[1])
        if int(query.batches.max(initial=-1)) >= len(self.classes_):
            raise DataError(
                "class-share: a batch holds an example whose class it doesn't know", "use examples of the pool"
            )
        intercept = average.interpolate(self.steps_, self.intercept_, query.steps)
        slope = average.interpolate(self.steps_, self.slope_, query.steps)
        share = self._shares(query.batches, query.learning_rates, query.steps)
        values = intercept + np.einsum("rsc,sct->rst", share, slope)
        values[:, 0] = query.first
        return Prediction(values)

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps`` [grid], ``intercept`` [grid, test], ``slope`` [grid, class, test], ``classes`` [pool]."""
        _check_fitted(self)
        return {
            "steps": self.steps_,
            "intercept": self.intercept_,
            "slope": self.slope_,
            "classes": self.classes_,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave."""
        self.steps_ = _array(self.name, state, "steps", 1)
        self.intercept_ = _array(self.name, state, "intercept", 2)
        self.slope_ = _array(self.name, state, "slope", 3)
        self.classes_ = _array(self.name, state, "classes", 1)
        grid, classes, test = self.slope_.shape
        if (
            len(self.steps_) != grid
            or grid == 0
            or self.intercept_.shape != (grid, test)
            or int(self.classes_.max(initial=-1)) + 1 != classes
        ):
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        return self


def average_run(runs: Sequence[Run], metric: str) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, "grid test"]]:
    """The steps and the mean trajectory of the runs that mean-run learns from.

    Raises ``DataError`` where there is no step at which every test example has the metric.
    """
    steps, mean = average.average([run.steps for run in runs], [run.metrics[metric] for run in runs])
    if len(steps) == 0:
        raise DataError(
            f"there is no step at which {metric} is known for every test example in the runs to fit",
            "record more runs, or another metric",
        )
    return steps, mean


def training_runs(data: FitData) -> tuple[Run, ...]:
    """The runs that an estimator which holds nothing back learns from: to fit and to validate."""
    runs = data.fit_runs + data.validation_runs
    if not runs:
        raise DataError("there is no run to fit", "record more runs (gptfl collect --runs)")
    return runs


def _class_indices(data: FitData) -> Int[np.ndarray, " pool"]:
    classes = classes_of(data.pool)
    if not classes:
        raise DataError("class-share needs the class of every pool example", "use a task with classes")
    places = {one: place for place, one in enumerate(in_order(classes))}
    return np.array([places[one] for one in classes], dtype=np.int64)


def _complete_blocks(
    values: Float[np.ndarray, "run test"],
) -> list[tuple[Int[np.ndarray, " row"], Int[np.ndarray, " column"]]]:
    """Group the test examples by the runs that have a value for them; each group is complete."""
    patterns, group = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    columns = [np.flatnonzero(group.ravel() == k) for k in range(patterns.shape[1])]
    rows = [np.flatnonzero(patterns[:, k]) for k in range(patterns.shape[1])]
    return [(r, c) for r, c in zip(rows, columns, strict=True) if len(r)]


def _choose_strength(share: Float[np.ndarray, "run grid class"], recorded: Float[np.ndarray, "run grid test"]) -> float:
    errors = np.zeros(len(STRENGTHS))
    for step in range(recorded.shape[1]):
        for rows, tests in _complete_blocks(recorded[:, step]):
            if len(rows) < 2:
                continue
            block = recorded[:, step][np.ix_(rows, tests)]
            errors += [leave_one_out_error(share[rows, step], block, strength) for strength in STRENGTHS]
    # With a single run every error is 0; the last of the least is the strongest penalty.
    return STRENGTHS[int(np.flatnonzero(errors == errors.min())[-1])]


def _check_fitted(estimator: MeanRun | ClassShare) -> None:
    if not hasattr(estimator, "steps_"):
        raise DataError(f"{estimator.name} isn't fitted", "call fit or restore first")


def _check_tests(query: Query, test: int) -> None:
    if query.first.shape[1] != test:
        raise DataError(
            f"asked for {query.first.shape[1]} test examples, fitted on {test}",
            "ask for the test examples of the recording it was fitted on",
        )


def _array(estimator: str, state: Mapping[str, np.ndarray], name: str, dimensions: int) -> np.ndarray:
    if name not in state or np.ndim(state[name]) != dimensions:
        raise DataError(f"{estimator}: its array {name!r} is missing or ill-shaped", "fit it again (gptfl fit)")
    return np.asarray(state[name])


__all__: Sequence[str] = ("ClassShare", "MeanRun", "Persistence", "training_runs")
