"""Simfluence by gradient descent against a plain loop and laws of its own form."""

import dataclasses

import numpy as np
import pytest

from gptfl import testing
from gptfl_simfluence.estimator import Simfluence
from gptfl_simfluence.plugin import gptfl_estimators
from tests.simfluence import FORMS, fit_data, query_of, recording, unexplained


@pytest.mark.parametrize("form", FORMS)
def test_keeps_the_promises_when_fitted_by_gradients(form: str) -> None:
    testing.check_estimator(gptfl_estimators()[f"simfluence-{form}"], fit="gradient", epochs=3, batch_size=16)


@pytest.mark.parametrize("form", FORMS)
def test_an_untrained_simulator_predicts_that_nothing_changes(form: str) -> None:
    data = fit_data(testing.make_dynamics())
    for part in (data, dataclasses.replace(data, validation_runs=())):
        values = Simfluence(form, fit="gradient", epochs=0).fit(part).predict(query_of(data)).values
        np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
def test_gradients_find_a_law_of_their_own_form(form: str) -> None:
    data = recording(form)
    how = {"fit": "gradient", "epochs": 600, "learning_rate": 3e-3, "weight_decay": 0.0, "batch_size": 48}
    fitted = Simfluence(form, **how).fit(data)
    assert not np.any(fitted.alpha_ if form == "additive" else fitted.beta_)
    # Where Adam ends hangs on rounding; that it explains what the runs did doesn't. Untrained, nothing is explained.
    assert unexplained(fitted, data) < 1e-3
    assert unexplained(Simfluence(form, fit="gradient", epochs=0).fit(data), data) == pytest.approx(1.0)
    assert np.isnan(fitted.strength_)


def test_one_step_of_adam_equals_a_plain_loop() -> None:
    """The first step of Adam is the learning rate against the sign of each parameter's own gradient."""
    data = recording("linear", runs=1, steps=4)
    fitted = Simfluence("linear", fit="gradient", epochs=1, weight_decay=0.0).fit(data)
    run, values = data.fit_runs[0], data.recorded(data.fit_runs[0])
    scale = np.sqrt((values**2).mean(axis=0))
    downhill = np.zeros((2, 6, 3))
    for t, batch in enumerate(run.curriculum.batches):
        for i in batch:
            downhill[0, i] += (values[t + 1] - values[t]) * values[t] / scale**2
            downhill[1, i] += (values[t + 1] - values[t]) / scale
    np.testing.assert_allclose(fitted.alpha_, 1e-3 * np.sign(downhill[0]), rtol=1e-3)
    np.testing.assert_allclose(fitted.beta_, 1e-3 * np.sign(downhill[1]) * scale, rtol=1e-3)


def test_the_epoch_with_the_best_validation_roll_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl_simfluence.gradient.PATIENCE", 3)
    data = fit_data(testing.make_dynamics(runs=16))
    reports: list[tuple[str, int, int, str]] = []
    data = dataclasses.replace(data, progress=lambda *report: reports.append(report))
    how = {"fit": "gradient", "epochs": 200, "learning_rate": 0.03}
    fitted = Simfluence("linear", **how).fit(data)
    errors = []
    for run in data.validation_runs:
        values = fitted.predict(testing.make_query([run])).values[0]
        errors.append((values - data.recorded(run))[1:] ** 2)
    reported = [float(note.split()[-1]) for _, _, _, note in reports[:-1]]
    assert len(reported) < 200
    assert np.mean(errors) == pytest.approx(min(reported), rel=1e-3)
    best = int(np.argmin(reported))
    assert fitted.notes_ == (f"simfluence-linear is taken from epoch {best}, the best of {best + 3} on validation",)
    again = Simfluence("linear", **{**how, "epochs": best}).fit(dataclasses.replace(data, validation_runs=()))
    np.testing.assert_array_equal(again.alpha_, fitted.alpha_)


def test_validation_runs_without_values_do_not_judge() -> None:
    data = fit_data(testing.make_dynamics())
    empty = [dataclasses.replace(run, metrics={"loss": data.recorded(run) * np.nan}) for run in data.fit_runs[:1]]
    how = {"fit": "gradient", "epochs": 3}
    fitted = Simfluence("linear", **how).fit(dataclasses.replace(data, validation_runs=tuple(empty)))
    alone = Simfluence("linear", **how).fit(dataclasses.replace(data, validation_runs=()))
    assert fitted.alpha_.any()
    np.testing.assert_array_equal(fitted.alpha_, alone.alpha_)


def test_the_metrics_unit_does_not_matter_to_gradients_either() -> None:
    data = recording("linear", runs=4)
    runs = [dataclasses.replace(run, metrics={"loss": 100 * data.recorded(run)}) for run in data.fit_runs]
    scaled = Simfluence("linear", fit="gradient", epochs=5).fit(dataclasses.replace(data, fit_runs=tuple(runs)))
    fitted = Simfluence("linear", fit="gradient", epochs=5).fit(data)
    np.testing.assert_allclose(scaled.beta_, 100 * fitted.beta_, rtol=1e-3)
