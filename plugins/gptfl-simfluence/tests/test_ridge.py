"""Simfluence's closed form against laws of its own form and augmented least squares."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FitData
from gptfl.core.curriculum import recorded_steps
from gptfl_simfluence.estimator import STRENGTHS, Simfluence
from gptfl_simfluence.recurrence import count
from tests.simfluence import FORMS, fit_data, law, query_of, recording


@pytest.mark.parametrize("form", FORMS)
def test_recovers_a_law_of_its_own_form(form: str) -> None:
    data = recording(form)
    fitted = Simfluence(form, strength=1e-10).fit(data)
    alpha, beta = law(form, 6, 3)
    np.testing.assert_allclose(fitted.alpha_, alpha, atol=1e-6)
    np.testing.assert_allclose(fitted.beta_, beta, atol=1e-6)


def test_the_ridge_equals_augmented_least_squares() -> None:
    data, strength = recording("linear", runs=2, steps=5), 0.3
    fitted = Simfluence("linear", strength).fit(data)
    rows, changes, counts = [], [], []
    values = np.stack([data.recorded(run)[:, 0] for run in data.fit_runs])
    scale = np.sqrt(np.mean(values**2))
    for run, recorded in zip(data.fit_runs, values, strict=True):
        for t, batch in enumerate(run.curriculum.batches):
            seen = np.array([np.sum(batch == i) for i in range(6)], dtype=float)
            counts.append(seen)
            rows.append(np.concatenate([seen * recorded[t] / scale, seen]))
            changes.append(recorded[t + 1] - recorded[t])
    weight = strength * np.mean(np.sum(np.square(counts), axis=0))
    design = np.vstack([rows, np.sqrt(weight) * np.eye(12)])
    solution = np.linalg.lstsq(design, np.concatenate([changes, np.zeros(12)]), rcond=None)[0]
    np.testing.assert_allclose(fitted.alpha_[:, 0], solution[:6] / scale, atol=1e-12)
    np.testing.assert_allclose(fitted.beta_[:, 0], solution[6:], atol=1e-12)


def test_the_metrics_unit_does_not_matter() -> None:
    data = recording("linear", runs=4)
    runs = [dataclasses.replace(run, metrics={"loss": 100 * data.recorded(run)}) for run in data.fit_runs]
    scaled = Simfluence().fit(dataclasses.replace(data, fit_runs=tuple(runs)))
    fitted = Simfluence().fit(data)
    np.testing.assert_allclose(scaled.alpha_, fitted.alpha_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(scaled.beta_, 100 * fitted.beta_, rtol=1e-6, atol=1e-12)


def test_infinite_strength_says_that_nothing_changes() -> None:
    data = recording("linear")
    values = Simfluence("linear", 1e12).fit(data).predict(query_of(data)).values
    np.testing.assert_allclose(values, np.broadcast_to(values[:, :1], values.shape), atol=1e-6)


def test_missing_values_are_left_out() -> None:
    """A law that holds exactly is recovered from what is left."""
    data = recording("linear")
    run = data.fit_runs[0]
    values = data.recorded(run).copy()
    values[3:5, 0] = np.nan
    values[:, 1] = np.nan
    runs = (dataclasses.replace(run, metrics={"loss": values}), *data.fit_runs[1:])
    fitted = Simfluence("linear", 1e-10).fit(dataclasses.replace(data, fit_runs=runs))
    np.testing.assert_allclose(fitted.alpha_, law("linear", 6, 3)[0], atol=1e-6)


def test_a_coarse_recording_gives_steps_of_its_interval() -> None:
    """An additive law adds up over an interval, so every second step recovers it, too."""
    data = recording("additive")
    coarse = recorded_steps(20, 2)
    runs = [
        dataclasses.replace(run, steps=coarse, metrics={"loss": data.recorded(run)[coarse]}) for run in data.fit_runs
    ]
    fitted = Simfluence("additive", 1e-10).fit(dataclasses.replace(data, fit_runs=tuple(runs)))
    assert fitted.interval_ == 2
    values = fitted.predict(query_of(data)).values
    np.testing.assert_allclose(values, np.stack([data.recorded(run) for run in data.fit_runs]), atol=1e-6)


@pytest.mark.parametrize("validate", [True, False])
def test_the_strength_is_the_one_that_rolls_out_best(validate: bool) -> None:
    data = fit_data(testing.make_dynamics(runs=16))
    if not validate:
        data = dataclasses.replace(data, validation_runs=())
    errors = []
    for strength in STRENGTHS:
        held_out = [(data.fit_runs, data.validation_runs)]
        if not validate:
            fours = [data.fit_runs[k::4] for k in range(4)]
            held_out = [(tuple(r for r in data.fit_runs if r not in four), four) for four in fours]
        error = 0.0
        for runs, others in held_out:
            scale = usual_count(data) / usual_count(dataclasses.replace(data, fit_runs=runs))
            part = dataclasses.replace(data, fit_runs=runs, validation_runs=())
            fitted = Simfluence("additive", strength * scale).fit(part)
            for run in others:
                values = fitted.predict(testing.make_query([run])).values[0]
                error += np.sum((values - data.recorded(run)) ** 2)
        errors.append(error)
    assert Simfluence("additive").fit(data).strength_ == STRENGTHS[int(np.argmin(errors))]


def usual_count(data: FitData) -> float:
    counts = [count(run.curriculum.batches[:, None], len(data.pool)) for run in data.fit_runs]
    return float(np.mean(sum((c**2).sum(axis=0) for c in counts)))


def test_one_run_and_nothing_to_compare_with_takes_the_strength_of_one() -> None:
    assert Simfluence().fit(recording("linear", runs=1)).strength_ == 1.0


def test_the_closed_form_loads_no_torch() -> None:
    code = (
        "import sys; from gptfl import testing; from gptfl_simfluence.plugin import gptfl_estimators; "
        "testing.check_estimator(gptfl_estimators()['simfluence-linear']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
