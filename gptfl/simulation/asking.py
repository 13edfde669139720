"""Asks a fitted estimator about runs."""

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
class Answer:
    """What an estimator predicts for one run: its trajectories, and their lower and upper bounds by level."""

    values: Float[np.ndarray, "recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "recorded test"], Float[np.ndarray, "recorded test"]]]


def ask_runs(
    contender: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None, observed: int = 0
) -> list[Answer]:
    """What a fitted estimator predicts for these runs' curricula.

    ``scope`` says which examples the runs are about, where these aren't just those fitted. An estimator that
    goes on from them is told the first ``observed`` recorded scores after the start of each run. Raises ``PluginError`` where the answer has the
    wrong shape or isn't finite.
    """
    given = observed if contender.estimator.tags.conditions else 0
    answers: list[Answer] = [Answer(np.empty((0, 0)), {})] * len(runs)
    for places in same_steps(runs):
        query = query_for([runs[place] for place in places], metric, given)
        query = query if scope is None else scope.about(query)
        prediction = checked(contender.estimator.predict(query), query, contender.part.who)
        values = prediction.values.astype(np.float64)
        for row, place in enumerate(places):
            bounds = {level: (low[row], high[row]) for level, (low, high) in prediction.intervals.items()}
            answers[place] = Answer(values[row], bounds)
    return answers


def predict_runs(
    contender: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None
) -> list[Float[np.ndarray, "recorded test"]]:
    """The trajectories of ``ask_runs`` alone."""
    return [answer.values for answer in ask_runs(contender, runs, metric, scope)]
