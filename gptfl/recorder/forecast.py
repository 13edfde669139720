"""Where a run that has begun will end, by the runs recorded before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import REPEAT, Dynamics, Example, FitData, MetricInfo, Prediction, Query, Run
from gptfl.core.curriculum import Stream, generator
from gptfl.core.splits import FEWEST_FIT_RUNS
from gptfl.errors import DataError
from gptfl.estimators.diverged import diverged
from gptfl.options.defaults import FEW_RUNS
from gptfl.plugins.guards import checked
from gptfl.plugins.registry import Registry
from gptfl.simulation.simulator import open_fitted

LEVEL = 0.9
ALL = ""
"""The name of the group of all test examples."""
ALONGSIDE = 200
"""So many single test examples are fitted along with the groups: they tell the estimator how trajectories vary."""

Predictor = Callable[[Query], Prediction]


@dataclass(frozen=True, slots=True)
class GroupForecast:
    """What a group's mean metric is now, and where the run will end: predicted, with the bounds of a 90 % band."""

    name: str
    now: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where each group will end at step ``end``, as seen from ``step``; the first group is all test examples.

    ``runs`` is how many earlier runs it rests on.
    """

    metric: str
    step: int
    end: int
    runs: int
    groups: tuple[GroupForecast, ...]

    @property
    def value(self) -> float:
        """The mean over all test examples at the end."""
        return self.groups[0].value

    @property
    def low(self) -> float:
        """The lower bound of its 90 % band."""
        return self.groups[0].low

    @property
    def high(self) -> float:
        """The upper bound of its 90 % band."""
        return self.groups[0].high

    def __str__(self) -> str:
        levels = [f"{one.name or self.metric} {one.value:.4g} ({one.low:.4g} to {one.high:.4g})" for one in self.groups]
        return f"step {self.step} of {self.end}: will end at {', '.join(levels)}; 90 % bands, from {self.runs} earlier runs"

    def logs(self) -> dict[str, float]:
        """What trackers get: ``gptfl/forecast``, ``_low`` and ``_high``, and the same with ``/NAME`` for each group."""
        found = {}
        for one in self.groups:
            tail = f"/{one.name}" if one.name else ""
            found[f"gptfl/forecast{tail}"] = one.value
            found[f"gptfl/forecast_low{tail}"] = one.low
            found[f"gptfl/forecast_high{tail}"] = one.high
        return found


@dataclass(frozen=True, slots=True)
class Course:
    """A run so far and what is still planned: its batches and step sizes up to the end, and what was measured.

    ``values`` are of the measured ``steps``, the first of which is the run's start.
    """

    batches: Int[np.ndarray, "step batch"]
    rates: Float[np.ndarray, " step"]
    steps: Int[np.ndarray, " measured"]
    values: Float[np.ndarray, "measured test"]
    every: int

    def query(self, columns: Callable[[np.ndarray], np.ndarray]) -> Query:
        """What an estimator is asked, with what was measured so far; ``columns`` makes of test examples what it knows."""
        end = len(self.batches)
        later = np.append(np.arange(0, end + 1, self.every), end)
        steps = np.union1d(self.steps, later[later > int(self.steps[-1])]).astype(np.int64)
        values = columns(self.values.astype(np.float64))
        observed = np.full((1, len(steps), values.shape[1]), np.nan)
        observed[0, np.searchsorted(steps, self.steps[1:])] = values[1:]
        known = observed if len(self.steps) > 1 else None
        return Query(self.batches[None], self.rates[None], steps, values[:1], observed=known)


class Forecaster:
    """Answers for one run; the estimator is fitted to the earlier runs when it is first asked.

    ``groups`` has the places of test examples by name. ``registry`` is where the estimator is found,
    ``simulator`` the file of one that was fitted before.
    Raises ``DataError`` where nothing can be told, as with too few earlier runs.
    """

    def __init__(
        self,
        earlier: Dynamics,
        metric: MetricInfo,
        groups: Mapping[str, Int[np.ndarray, " member"]],
        path: Path,
        registry: Registry,
        simulator: str | Path | None = None,
    ) -> None:
        self.metric = metric
        self.groups = {ALL: np.arange(len(earlier.test)), **groups}
        if simulator is None:
            self.predict, self.runs = _fitted_to_groups(earlier, metric, tuple(self.groups.values()), registry)
            self.columns = self._with_groups
        else:
            source = open_fitted(simulator, path, None, None, metric.name)
            self.predict, self.runs = source.predict, len(source.found.info.get("fit_runs", ()))
            self.columns = lambda values: values

    def _with_groups(self, values: np.ndarray) -> np.ndarray:
        return _widened(values, tuple(self.groups.values()))

    def forecast(self, course: Course) -> Forecast:
        """Where the run will end. Raises ``DataError`` where the earlier runs tell nothing of such a run."""
        query = course.query(self.columns)
        prediction = self.predict(query)
        if LEVEL not in prediction.intervals:
            raise DataError(
                "nothing tells how wide a band must be, as where earlier runs don't differ in what they saw",
                "record more runs, on other draws of the pool",
            )
        ends = [prediction.values[0, -1], *(bound[0, -1] for bound in prediction.intervals[LEVEL])]
        found = []
        for number, (name, members) in enumerate(self.groups.items()):
            now = float(np.nanmean(course.values[-1, members]))
            # Groups were fitted as such; of single examples the bounds' means are at least as wide as the mean's bounds.
            fitted = self.columns == self._with_groups
            value, low, high = (float(one[number] if fitted else one[members].mean()) for one in ends)
            found.append(GroupForecast(name, now, value, low, high))
        return Forecast(self.metric.name, int(course.steps[-1]), len(course.batches), self.runs, tuple(found))


def _widened(values: np.ndarray, groups: Sequence[Int[np.ndarray, " member"]]) -> np.ndarray:
    """Means over groups, then single test examples, as columns."""
    means = np.stack([values[:, members].mean(axis=1) for members in groups], axis=1)
    return np.concatenate([means, values[:, :ALONGSIDE]], axis=1)


def _fitted_to_groups(
    earlier: Dynamics, metric: MetricInfo, groups: Sequence[Int[np.ndarray, " member"]], registry: Registry
) -> tuple[Predictor, int]:
    """What a group's mean will be is learned from group means, whose errors no sum of single intervals tells."""
    bad = {one.index for one in diverged(earlier.runs, earlier.metrics)}
    runs = [
        replace(
            run, metrics={metric.name: _widened(run.metrics[metric.name].astype(np.float64), groups)}, derivatives={}
        )
        for run in earlier.runs
        if run.index not in bad and run.role != REPEAT
    ]
    if len(runs) < FEWEST_FIT_RUNS:
        count = "is 1 earlier run" if len(runs) == 1 else f"are {len(runs)} earlier runs"
        raise DataError(f"there {count}, and it takes {FEWEST_FIT_RUNS}", "record more runs")
    columns = runs[0].metrics[metric.name].shape[1]
    test = tuple(Example(f"column {number}", "", "", digest=str(number)) for number in range(columns))
    estimator = registry.make("estimator", FEW_RUNS, features=False).fit(
        FitData(earlier.pool, test, metric, tuple(runs))
    )
    who = registry.find("estimator", FEW_RUNS).who

    def predict(query: Query) -> Prediction:
        return checked(estimator.predict(query), query, who)

    return predict, len(runs)


def planned_batches(
    done: Int[np.ndarray, "step batch"], members: Int[np.ndarray, " member"], steps: int, seed: int
) -> Int[np.ndarray, "all batch"]:
    """The batches so far, and those to come if the run goes on passing through its examples.

    First come those that the present pass has still to see. The order is drawn, and only the sums over passes matter
    much.

    Args:
        done: the batches so far, places in the pool.
        members: the places that the run passes through.
        steps: how many the run will have.
        seed: of the order.
    """
    left = steps - len(done)
    if left <= 0:
        return done
    width = int((done >= 0).sum(axis=1).max()) if len(done) else 1
    seen = np.bincount(done[done >= 0], minlength=int(members.max()) + 1)[members]
    random = generator(seed, Stream.FORECAST_ORDER)
    stream = [random.permutation(members[seen < seen.max(initial=0)])]
    while sum(map(len, stream)) < left * width:
        stream.append(random.permutation(members))
    rows = np.concatenate(stream)[: left * width].reshape(left, width)
    padded = np.full((steps, max(width, done.shape[1] if len(done) else 0)), -1, dtype=np.int64)
    padded[: len(done), : done.shape[1]] = done
    padded[len(done) :, :width] = rows
    return padded


def usual_steps(runs: Sequence[Run]) -> int:
    """How many steps earlier runs took, in the middle."""
    return int(np.median([run.curriculum.steps for run in runs]))


def usual_rates(runs: Sequence[Run], done: Float[np.ndarray, " step"], steps: int) -> Float[np.ndarray, " all"]:
    """The step sizes so far, and then those that earlier runs took on average at the same steps; else the last one."""
    rates = np.full(steps, done[-1] if len(done) else 0.0)
    rates[: len(done)] = done
    for step in range(len(done), steps):
        known = [run.curriculum.learning_rates[step] for run in runs if step < run.curriculum.steps]
        rates[step] = np.mean(known) if known else rates[step - 1]
    return rates
