from dataclasses import replace

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.unseen_tests import extrapolated
from gptfl.plugins.registry import get_registry
from tests.estimators.questions import data_of, only_first, query_of, unseen_of
from tests.synthetic import synthetic


@pytest.mark.parametrize("estimator", [Persistence, MeanRun, ClassShare])
def test_state_restores_the_same_predictions(estimator):
    dynamics, _ = synthetic()
    fitted = estimator().fit(data_of(dynamics))
    query = query_of(dynamics.with_role("test"))
    again = estimator(**fitted.settings()).restore(fitted.state())
    np.testing.assert_array_equal(again.predict(query).values, fitted.predict(query).values)
    assert fitted.predict(query).values.shape == (len(query.first), len(query.steps), 8)
    np.testing.assert_array_equal(fitted.predict(query).values[:, 0], query.first)


@pytest.mark.parametrize("name", ["persistence", "mean-run", "class-share"])
def test_registered_under_their_names(name):
    assert get_registry().make("estimator", name).name == name


def test_persistence_repeats_the_first_value():
    dynamics, _ = synthetic(runs=4)
    query = query_of(dynamics.runs)
    values = Persistence().fit(data_of(dynamics)).predict(query).values
    for step in range(len(query.steps)):
        np.testing.assert_array_equal(values[:, step], query.first)


def test_mean_run_averages_fit_and_validation_runs():
    dynamics, _ = synthetic()
    learned = [r.metrics["loss"] for r in dynamics.runs if r.role != "test"]
    values = MeanRun().fit(data_of(dynamics)).predict(query_of(dynamics.with_role("test"))).values
    np.testing.assert_allclose(values[0, 1:], np.mean(learned, axis=0)[1:])
    np.testing.assert_array_equal(values[0, 1:], values[-1, 1:])


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_refuses_to_go_past_what_was_recorded(estimator):
    dynamics, _ = synthetic()
    query = query_of(dynamics.runs[:2])
    with pytest.raises(DataError, match="step 19 is outside steps 0 to 18"):
        estimator().fit(data_of(dynamics)).predict(replace(query, steps=np.array([0, 19])))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_refuses_other_test_examples(estimator):
    dynamics, _ = synthetic()
    query = query_of(dynamics.runs[:2])
    with pytest.raises(DataError, match="asked for 3 test examples, fitted on 8"):
        estimator().fit(data_of(dynamics)).predict(replace(query, first=query.first[:, :3]))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_no_run_and_no_common_step_are_refused(estimator):
    dynamics, _ = synthetic(runs=4)
    with pytest.raises(DataError, match="no run to fit"):
        estimator().fit(data_of(dynamics, ()))
    values = dynamics.runs[0].metrics["loss"].copy()
    values[:, 2] = np.nan
    with pytest.raises(DataError, match="no step at which loss is known"):
        estimator().fit(data_of(dynamics, (replace(dynamics.runs[0], metrics={"loss": values}),)))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
@pytest.mark.parametrize("spoil", ["missing", "flat", "short"])
def test_restore_refuses_a_damaged_state(estimator, spoil):
    state = dict(estimator().fit(data_of(synthetic()[0])).state())
    if spoil == "missing":
        del state["steps"]
    else:
        state["steps"] = state["steps"][:-1] if spoil == "short" else np.array(1)
    with pytest.raises(DataError, match="fit it again"):
        estimator().restore(state)


def test_mean_run_extrapolates_the_average_change_to_unseen_test_examples():
    dynamics, _ = synthetic(8)
    query = replace(query_of(dynamics.runs), unseen=unseen_of(dynamics, 24, 6))
    fitted = MeanRun().fit(only_first(data_of(dynamics), 6))
    values = fitted.predict(query).values
    assert values.shape[2] == 8
    np.testing.assert_array_equal(values[:, 0], query.first)
    plain = fitted.predict(replace(query, first=query.first[:, :6], unseen=None)).values
    np.testing.assert_array_equal(values[:, :, :6], plain)
    np.testing.assert_allclose(values[:, :, 6:], extrapolated(fitted.mean_, query.first[:, 6:]))
