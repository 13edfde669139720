"""How sure an estimator is of what leaving groups out changes: held against its linear form, and against the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import FitData
from gptfl.core.queries import query_for
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.evaluation.change_spreads import change_spreads
from gptfl.plugins.registry import get_registry
from gptfl.scores.removals import find_removals
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.unseen import scope_of
from tests.evaluation.test_truth import LAW, against, folder, truth_of
from tests.synthetic import synthetic

__all__ = ["folder"]


def named_of(estimator):
    return NamedEstimator(get_registry().find("estimator", estimator.name), estimator)


def test_spreads_are_those_of_the_linear_form_of_the_whole_recipe() -> None:
    dynamics, features = synthetic(28, **LAW)
    truth = truth_of(12)
    metric = dynamics.metrics["loss"]
    estimator = ExposureGp().fit(FitData(dynamics.pool, dynamics.test, metric, dynamics.runs, features=features))
    removals = find_removals(
        [run.curriculum.batches for run in truth.runs], [run.seed for run in truth.runs], np.zeros(12, dtype=int)
    )
    scope = scope_of(dynamics, None, estimator, features, np.arange(len(dynamics.test)))
    found = change_spreads(named_of(estimator), truth.runs, removals, metric, scope)
    query = query_for([truth.runs[0]], metric)
    form = estimator.linear_form(replace(query, typical=query.batches))
    everyone = np.arange(len(dynamics.pool))
    assert len(removals) == len(found.spreads) == 5
    for group, spreads in zip(removals.groups, found.spreads, strict=True):
        expected = form.difference(np.setdiff1d(everyone, group), everyone)[1]
        assert spreads[-1] == pytest.approx(expected)
        assert spreads.shape == (len(dynamics.test) + 1,)
    assert found.reach == dict(form.intervals.reach)


def test_estimators_and_recipes_without_a_linear_form_tell_nothing() -> None:
    dynamics, features = synthetic(28, **LAW)
    truth = truth_of(12)
    metric = dynamics.metrics["loss"]
    data = FitData(dynamics.pool, dynamics.test, metric, dynamics.runs, features=features)
    removals = find_removals(
        [run.curriculum.batches for run in truth.runs], [run.seed for run in truth.runs], np.zeros(12, dtype=int)
    )
    average = get_registry().make("estimator", "mean-run").fit(data)
    everyone = np.arange(len(dynamics.test))
    scope = scope_of(dynamics, None, average, None, everyone)
    assert change_spreads(named_of(average), truth.runs, removals, metric, scope) is None
    estimator = ExposureGp().fit(data)
    scope = scope_of(dynamics, None, estimator, features, everyone)
    slower = [replace(run.curriculum, learning_rates=run.curriculum.learning_rates * 0.5) for run in truth.runs]
    other = [replace(run, curriculum=one) for run, one in zip(truth.runs, slower, strict=True)]
    assert change_spreads(named_of(estimator), other, removals, metric, scope) is None


def test_changes_of_another_recording_lie_inside_their_intervals(folder: Path) -> None:
    rows = {row.estimator: row for row in against(folder, truth_of()).rows}
    inside = rows["exposure-gp"].removals.inside
    assert list(inside.each) == [0.5, 0.8, 0.9, 0.95]
    assert inside.each[0.9] > 0.8  # 11 groups of 6 test examples each
    assert inside.each[0.5] <= inside.each[0.9] <= inside.each[0.95]
    assert 0 < inside.spread < np.inf
    assert rows["mean-run"].removals.inside is None
