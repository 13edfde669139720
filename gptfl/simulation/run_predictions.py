"""Predictions of a fitted estimator for recorded runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.core import MetricInfo, Run
from gptfl.core.queries import query_for, same_steps
from gptfl.plugins.guards import checked
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.unseen import Scope


@dataclass(frozen=True, slots=True)
class RunPrediction:
    """What an estimator predicts for one run: its trajectories, and their lower and upper bounds by level."""

    values: Float[np.ndarray, "recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "recorded test"], Float[np.ndarray, "recorded test"]]]


def predict_runs(
    named: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None, observed: int = 0
) -> list[RunPrediction]:
    """What a fitted estimator predicts for these runs' curricula, one of each in order.

    Args:
        named: the fitted estimator and its name.
        runs: of any lengths; those of the same recorded steps are predicted together.
        metric: that was fitted.
        scope: the examples that the runs are about, where these aren't just those fitted.
        observed: an estimator that goes on from recorded scores gets so many after the start of each run.

    Raises ``PluginError`` where the prediction has the wrong shape or isn't finite.
    """
    given = observed if named.estimator.tags.conditions else 0
    predictions: list[RunPrediction] = [RunPrediction(np.empty((0, 0)), {})] * len(runs)
    for places in same_steps(runs):
        query = query_for([runs[place] for place in places], metric, given)
        query = query if scope is None else scope.about(query)
        prediction = checked(named.estimator.predict(query), query, named.part.who)
        values = prediction.values.astype(np.float64)
        for row, place in enumerate(places):
            bounds = {level: (low[row], high[row]) for level, (low, high) in prediction.intervals.items()}
            predictions[place] = RunPrediction(values[row], bounds)
    return predictions


def predict_trajectories(
    named: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None
) -> list[Float[np.ndarray, "recorded test"]]:
    """The trajectories of ``predict_runs`` alone, in float64.

    Args:
        named: the fitted estimator and its name.
        runs: of any lengths.
        metric: that was fitted.
        scope: the examples that the runs are about, where these aren't just those fitted.
    """
    return [prediction.values for prediction in predict_runs(named, runs, metric, scope)]
