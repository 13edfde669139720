"""Predictions for recorded runs: one of each in order, however long they are."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Prediction, Query, Run
from gptfl.core.runs import cut_run
from gptfl.errors import PluginError
from gptfl.plugins import EstimatorTags
from gptfl.plugins.parts import Part
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.run_predictions import predict_runs, predict_trajectories
from gptfl.simulation.simulator import FittedSimulator
from tests.synthetic import LOSS


class Telling:
    """Predicts, of each run, the last example that it was trained on at each step."""

    name = "telling"

    def __init__(self, conditions: bool = False, change: float = 0.0) -> None:
        self.tags = EstimatorTags(conditions=conditions)
        self.change, self.asked = change, list[Query]()

    def predict(self, query: Query) -> Prediction:
        self.asked.append(query)
        last = [[row[max(0, step - 1), -1] for step in query.steps] for row in query.batches]
        values = np.broadcast_to(np.array(last, dtype=float)[..., None], (*np.shape(last), query.first.shape[1]))
        return Prediction(values + self.change, {0.5: (values - 1, values + 2)})


def named(estimator: object) -> NamedEstimator:
    return NamedEstimator(Part("estimator", "telling", "acme", Telling), estimator)  # type: ignore[arg-type]


def mixed(source: FittedSimulator) -> list[Run]:
    """Long and short runs in turn."""
    runs = source.recording.dynamics.runs[:5]
    return [cut_run(run, np.arange(2)) if place % 2 else run for place, run in enumerate(runs)]


def test_runs_of_different_lengths_keep_their_places(source_of: Callable[[str], FittedSimulator]) -> None:
    runs = mixed(source_of("mean-run"))
    estimator = Telling()
    found = predict_runs(named(estimator), runs, LOSS)
    assert len(estimator.asked) == 2
    for run, one in zip(runs, found, strict=True):
        for row, step in enumerate(run.steps):
            expected = run.curriculum.batches[max(0, step - 1), -1]
            assert (one.values[row] == expected).all()
            assert (one.intervals[0.5][0][row] == expected - 1).all()
            assert (one.intervals[0.5][1][row] == expected + 2).all()
    assert predict_runs(named(estimator), [], LOSS) == []


def test_trajectories_are_the_values_alone(source_of: Callable[[str], FittedSimulator]) -> None:
    source = source_of("class-share")
    runs = mixed(source)
    for run, values in zip(runs, predict_trajectories(source.named, runs, LOSS), strict=True):
        assert values.dtype == np.float64
        (alone,) = predict_trajectories(source.named, [run], LOSS)
        np.testing.assert_allclose(values, alone, rtol=1e-9)


@pytest.mark.parametrize("conditions", [True, False])
def test_only_who_goes_on_from_scores_is_told_some(
    conditions: bool, source_of: Callable[[str], FittedSimulator]
) -> None:
    runs = source_of("mean-run").recording.dynamics.runs[:2]
    estimator = Telling(conditions)
    predict_runs(named(estimator), runs, LOSS, observed=2)
    (query,) = estimator.asked
    assert (query.observed is not None) == conditions
    if query.observed is not None:
        assert np.isfinite(query.observed[0]).all(axis=1).sum() == 2


def test_a_prediction_that_is_none_names_who_made_it(source_of: Callable[[str], FittedSimulator]) -> None:
    runs = source_of("mean-run").recording.dynamics.runs[:1]
    with pytest.raises(PluginError, match="estimator 'telling' of acme predicted values that are not finite"):
        predict_runs(named(Telling(change=np.inf)), runs, LOSS)
    broken = [replace(runs[0], steps=runs[0].steps[:2], metrics={"loss": runs[0].metrics["loss"][:2]})]
    assert predict_runs(named(Telling()), broken, LOSS)[0].values.shape == (2, 5)
