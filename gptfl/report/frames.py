"""The numbers of each kind of result as a data frame, a row each."""

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.errors import UsageError
from gptfl.evaluation.verification import Verification
from gptfl.influence.frontier import Frontier
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.ranking import RankResult
from gptfl.influence.selection import Selection
from gptfl.report import comparison, frontier, learning_curve, mixture
from gptfl.report import sweep as sweeps
from gptfl.scores.comparison import Comparison
from gptfl.scores.sweep import RunsSweep, Sweep
from gptfl.simulation.many import SubsetSimulations
from gptfl.simulation.outcome import Simulation

if TYPE_CHECKING:
    import pandas as pd


@singledispatch
def frame_of(result: object) -> "pd.DataFrame":
    """The numbers of a result, a row each. Raises ``UsageError`` for what makes no table."""
    raise UsageError(f"a {type(result).__name__} makes no table of numbers", "take its fields, or gptfl.save")


def _frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)


@frame_of.register(Simulation)
def _(result: Simulation) -> "pd.DataFrame":
    """A row for each curriculum, step and test example: value, bounds by level, reference, recorded."""
    import pandas as pd

    runs, steps, tests = result.values.shape

    def spread(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, (runs, steps, tests)).ravel()

    columns: dict[str, Any] = {
        "curriculum": np.repeat(np.array(result.labels, dtype=object), steps * tests),
        "step": np.tile(np.repeat(result.steps, tests), runs),
        "test": np.tile(np.array(result.tests, dtype=object), runs * steps),
        "value": result.values.astype(np.float64).ravel(),
        "reference": spread(result.reference.values),
    }
    if result.request.recorded is not None:
        columns["recorded"] = spread(result.request.recorded)
    for level, (low, high) in sorted(result.prediction.intervals.items()):
        columns |= {f"low_{level:g}": spread(low), f"high_{level:g}": spread(high)}
    return pd.DataFrame(columns)


@frame_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> "pd.DataFrame":
    """A row for each subset and test example: the last value, the change, bounds by level."""
    import pandas as pd

    subsets, tests = result.final.shape
    columns: dict[str, Any] = {
        "subset": np.repeat(np.arange(subsets), tests),
        "test": np.tile(np.array(result.tests, dtype=object), subsets),
        "step": int(result.steps[-1]),
        "value": result.final.ravel(),
        "change": result.change.ravel(),
    }
    for level, (low, high) in sorted(result.intervals.items()):
        columns |= {f"low_{level:g}": low.ravel(), f"high_{level:g}": high.ravel()}
    return pd.DataFrame(columns)


@frame_of.register(Comparison)
def _(result: Comparison) -> "pd.DataFrame":
    """A row for each estimator, and of a mixture one for each task, with the columns of the CSV."""
    return _frame(comparison.records(result))


@frame_of.register(RankResult)
def _(result: RankResult) -> "pd.DataFrame":
    """A row for each simulator and training example."""
    rows = []
    for one in result.rankings:
        ranks = {place: rank for rank, place in enumerate(one.order, 1)}
        for place, example in enumerate(result.pool):
            row = {
                "simulator": one.label,
                "id": example.id,
                "rank": ranks[place],
                "influence": float(one.influence[place]),
            }
            if one.low is not None and one.high is not None:
                row |= {"low": float(one.low[place]), "high": float(one.high[place])}
            rows.append(row)
    return _frame(rows)


@frame_of.register(Selection)
def _(result: Selection) -> "pd.DataFrame":
    low = [None] * len(result.ids) if result.low is None else result.low.tolist()
    high = [None] * len(result.ids) if result.high is None else result.high.tolist()
    rows = zip(result.ids, result.influence.tolist(), low, high, strict=True)
    return _frame([{"id": id, "influence": value, "low": a, "high": b} for id, value, a, b in rows])


@frame_of.register(Frontier)
def _(result: Frontier) -> "pd.DataFrame":
    """A row for each point, with its ids in a list."""
    rows = zip(frontier.records(result), result.points, strict=True)
    return _frame([{**row, "ids": list(point.ids)} for row, point in rows])


@frame_of.register(MixtureSelection)
def _(result: MixtureSelection) -> "pd.DataFrame":
    """A row for each group."""
    return _frame(mixture.mixture_rows(result))


@frame_of.register(Verification)
def _(result: Verification) -> "pd.DataFrame":
    """A row for each training, step and test example."""
    import pandas as pd

    runs, steps, tests = result.predicted.shape
    return pd.DataFrame(
        {
            "curriculum": np.repeat(np.array(result.labels, dtype=object), steps * tests),
            "step": np.tile(np.repeat(result.steps, tests), runs),
            "test": np.tile(np.array(result.tests, dtype=object), runs * steps),
            "predicted": result.predicted.ravel(),
            "recorded": result.recorded.ravel(),
            "reference": np.broadcast_to(result.reference, result.predicted.shape).ravel(),
        }
    )


@frame_of.register(Sweep)
def _(result: Sweep) -> "pd.DataFrame":
    return _frame(sweeps.records(result))


@frame_of.register(RunsSweep)
def _(result: RunsSweep) -> "pd.DataFrame":
    return _frame(learning_curve.runs_records(result))
