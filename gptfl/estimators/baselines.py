"""The honest floor: what a recording predicts without any influence of single examples.

These estimators hold nothing back, so they learn from the validation runs too: an estimator that
stops early has seen those as well, and the mean of more runs is the harder one to beat.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.core import FitData, Prediction, Query, Run
from gptfl.errors import DataError
from gptfl.estimators import average
from gptfl.estimators.clock import Clock, Span
from gptfl.estimators.left_out import cut_notes
from gptfl.estimators.unseen_tests import extrapolated
from gptfl.plugins.interfaces import Estimator, EstimatorTags


class Persistence:
    """Nothing changes: every step repeats the first value."""

    name = "persistence"
    tags = EstimatorTags(unseen={"train", "test"}, blind=True)

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def fit(self, data: FitData) -> Self:
        """Nothing to learn."""
        return self

    def predict(self, query: Query) -> Prediction:
        """The first value of each test example, again and again."""
        return Prediction(np.repeat(query.first[:, None, :], len(query.steps), axis=1).astype(np.float64))

    def flops(self, query: Query) -> float:
        """It computes nothing."""
        return 0.0

    def state(self) -> Mapping[str, np.ndarray]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Nothing to take back."""
        return self


class MeanRun:
    """Every run goes like the average recorded run, whatever its curriculum.

    A run of other step sizes than recorded goes as the average one did when its step sizes had added up to as much.
    Only ``values[:, 0]`` is the given first value; from there on the average is predicted as it is. A test example
    that it wasn't fitted to changes as the others do on average, given its first value (``extrapolated``).
    """

    name = "mean-run"
    tags = EstimatorTags(unseen={"train", "test"}, blind=True)

    steps_: Int[np.ndarray, " grid"]
    mean_: Float[np.ndarray, "grid test"]
    notes_: tuple[str, ...] = ()
    clock_: Clock | None = None

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def fit(self, data: FitData) -> Self:
        """Average the runs to fit and to validate, at every step that one of them recorded."""
        runs = training_runs(data)
        self.steps_, self.mean_ = average_run(runs, data.metric.name)
        self.notes_ = cut_notes(self.name, runs, data.metric.name, self.steps_)
        self.clock_ = clock_of(runs)
        return self

    def predict(self, query: Query) -> Prediction:
        """The average run at the asked steps. Raises ``DataError`` beyond the recorded ones."""
        check_fitted(self)
        seen = places_of(query, self.mean_.shape[1])
        values = np.empty((len(query.first), len(query.steps), len(seen)))
        for runs, steps in timed(self.clock_, query, self.steps_):
            values[np.ix_(runs, np.arange(1, len(steps)), seen >= 0)] = average.interpolate(
                self.steps_, self.mean_, steps[1:]
            )[:, seen[seen >= 0]]
            if (seen < 0).any():
                values[np.ix_(runs, np.arange(len(steps)), seen < 0)] = self._extrapolated(
                    steps, query.first[np.ix_(runs, seen < 0)]
                )
        return Prediction(begun(values, self.clock_, query, self.steps_))

    def knows(self, run: Run) -> Bool[np.ndarray, " recorded"]:
        """At which of a run's recorded steps the average run is known, as far as its step sizes have come by then."""
        inside = (run.steps >= self.steps_[0]) & (run.steps <= self.steps_[-1])
        if self.clock_ is not None:
            curriculum, none = run.curriculum, np.zeros((1, 0))
            query = Query(curriculum.batches[None], curriculum.learning_rates[None], run.steps, none)
            inside &= np.isfinite(self.clock_.place(query, self.steps_).requested[0])
        return np.asarray(inside)

    def _extrapolated(
        self, steps: Float[np.ndarray, " recorded"], first: Float[np.ndarray, "run new"]
    ) -> Float[np.ndarray, "run recorded new"]:
        # The first step is given, and may lie before those at which the average run is known.
        grid = np.append(np.clip(steps[:1], self.steps_[0], self.steps_[-1]), steps[1:])
        return extrapolated(average.interpolate(self.steps_, self.mean_, grid), first)

    def flops(self, query: Query) -> float:
        """Interpolating the average run once, for all curricula."""
        return average.FLOPS * float((len(query.steps) - 1) * query.first.shape[1])

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps`` [grid], ``mean`` [grid, test] and ``clock`` [2, step and end] (see ``Clock``)."""
        check_fitted(self)
        return {"steps": self.steps_, "mean": self.mean_, **clock_arrays(self.clock_)}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave."""
        self.steps_, self.mean_ = array_of(self.name, state, "steps", 1), array_of(self.name, state, "mean", 2)
        if len(self.mean_) != len(self.steps_) or len(self.steps_) == 0:
            raise DataError(f"{self.name}: 'mean' has no row for each step", "fit it again (gptfl fit)")
        self.clock_ = clock_from(self.name, state)
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


def clock_of(runs: Sequence[Run]) -> Clock:
    """What the step sizes of some runs add up to."""
    return Clock.of(
        [
            Span(run.curriculum.batches, run.curriculum.learning_rates, int(run.steps[0]), int(run.steps[-1]))
            for run in runs
        ]
    )


def clock_arrays(clock: Clock | None) -> dict[str, np.ndarray]:
    """A clock as arrays of a state; none of a simulator from before there were clocks."""
    return {} if clock is None else {"clock": clock.array()}


def clock_from(estimator: str, state: Mapping[str, np.ndarray]) -> Clock | None:
    """The clock of a state, None where it has none: each step then stands for itself, as it did when that was fitted."""
    if "clock" not in state:
        return None
    try:
        return Clock.from_array(array_of(estimator, state, "clock", 2))
    except ValueError as error:
        raise DataError(f"{estimator}: its array 'clock' is damaged ({error})", "fit it again (gptfl fit)") from error


def timed(
    clock: Clock | None, query: Query, grid: Int[np.ndarray, " grid"]
) -> list[tuple[Int[np.ndarray, " run"], Float[np.ndarray, " recorded"]]]:
    """The asked runs in groups, and for each the recorded steps that the asked ones stand for.

    Raises ``DataError`` where these lie beyond what step sizes added up to in recorded runs.
    """
    if clock is None:
        return [(np.arange(len(query.batches)), query.steps)]
    places = clock.place(query, grid).check()
    return [(runs, places.requested[runs[0]]) for runs in places.groups()]


def begun(
    values: Float[np.ndarray, "run recorded test"],
    clock: Clock | None,
    query: Query,
    grid: Int[np.ndarray, " grid"],
) -> Float[np.ndarray, "run recorded test"]:
    """The values with the given first ones, which stay as long as no step of another size than recorded is taken.

    Args:
        values: predicted; they are changed in place.
        clock: what step sizes add up to along the average run, None where steps are counted instead.
        query: its first scores and step sizes.
        grid: the recorded steps, ascending.
    """
    values[:, 0] = query.first
    if clock is not None:
        run, place = np.nonzero(clock.place(query, grid).still)
        values[run, place] = query.first[run]
    return values


def check_fitted(estimator: Estimator) -> None:
    """Raise ``DataError`` unless the estimator knows its steps."""
    if not hasattr(estimator, "steps_"):
        raise DataError(f"{estimator.name} isn't fitted", "call fit or restore first")


def places_of(query: Query, test: int) -> Int[np.ndarray, " asked"]:
    """The place of each asked test example among those fitted, -1 for an unseen one."""
    seen = np.arange(test) if query.unseen is None else query.unseen.test_seen
    if query.first.shape[1] != len(seen) or int(seen.max(initial=-1)) >= test:
        raise DataError(
            f"asked for {query.first.shape[1]} test examples, fitted on {test}",
            "ask for the test examples of the recording it was fitted on",
        )
    return seen


def array_of(estimator: str, state: Mapping[str, np.ndarray], name: str, dimensions: int) -> np.ndarray:
    """One array of a state.

    Args:
        estimator: whose state it is, for the message.
        state: arrays by name, from a file.
        name: of the array.
        dimensions: how many axes it must have.

    Raises ``DataError`` where it is missing or has another number of axes.
    """
    if name not in state or np.ndim(state[name]) != dimensions:
        raise DataError(f"{estimator}: its array {name!r} is missing or ill-shaped", "fit it again (gptfl fit)")
    return np.asarray(state[name])
