"""Simfluence against plain loops and closed forms."""

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT, TEST, VALIDATION, Curriculum, Dynamics, FitData, MetricInfo, Query, Run
from gptfl.core.curriculum import fill_batches, linear_decay, recorded_steps
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl_simfluence.estimator import STRENGTHS, Simfluence
from gptfl_simfluence.plugin import gptfl_estimators
from gptfl_simfluence.recurrence import count, roll_out

FORMS = ("linear", "additive", "multiplicative")
LOSS = MetricInfo("loss", higher_is_better=False)


def loop(batches: np.ndarray, first: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The recurrence as it is written down, one example at a time."""
    values = [first]
    for batch in batches:
        value = np.empty_like(first)
        for j in range(len(first)):
            factor, term = 1.0, 0.0
            for i in batch:
                if i >= 0:
                    factor += alpha[i, j]
                    term += beta[i, j]
            value[j] = factor * values[-1][j] + term
        values.append(value)
    return np.array(values)


def law(form: str, pool: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    alpha, beta = -0.03 * random.random((pool, test)), 0.05 * random.normal(size=(pool, test))
    return (alpha * (form != "additive"), beta * (form != "multiplicative"))


def recording(form: str, runs: int = 12, pool: int = 6, test: int = 3, steps: int = 20, roles: str = FIT) -> FitData:
    """Runs that follow the law exactly."""
    alpha, beta = law(form, pool, test)
    made = []
    for index in range(runs):
        batches = fill_batches(np.random.default_rng(index).permutation(pool)[:4], 3, steps, index)
        values = loop(batches, 1.0 + np.random.default_rng(index).random(test), alpha, beta)
        curriculum = Curriculum(batches, linear_decay(0.1, steps))
        made.append(Run(index, index, roles, curriculum, recorded_steps(steps, 1), {"loss": values}))
    return FitData(testing.make_examples(pool), testing.make_examples(test, "test"), LOSS, tuple(made))


def query_of(data: FitData) -> Query:
    return testing.make_query(data.fit_runs)


def unexplained(fitted: Simfluence, data: FitData) -> float:
    """The share of the runs' squared movement from their first scores that their roll-outs miss."""
    recorded = np.stack([data.recorded(run) for run in data.fit_runs])
    missed = fitted.predict(query_of(data)).values - recorded
    return float((missed**2).sum() / ((recorded - recorded[:, :1]) ** 2).sum())


@pytest.mark.parametrize("form", FORMS)
def test_keeps_the_promises_of_an_estimator(form: str) -> None:
    testing.check_estimator(gptfl_estimators()[f"simfluence-{form}"])


@pytest.mark.parametrize("form", FORMS)
def test_keeps_them_on_a_coarse_recording(form: str) -> None:
    testing.check_estimator(gptfl_estimators()[f"simfluence-{form}"], dynamics=testing.make_dynamics(every=3, steps=14))


def test_is_found_as_an_installed_plugin() -> None:
    part = get_registry().find("estimator", "simfluence-linear")
    assert part.owner.startswith("gptfl-simfluence ")
    settings = get_registry().make("estimator", "simfluence-additive", strength=2.0).settings()
    assert {name: value for name, value in settings.items() if value is not None} == {"strength": 2.0, "fit": "ridge"}


@pytest.mark.parametrize("form", FORMS)
def test_recovers_a_law_of_its_own_form(form: str) -> None:
    data = recording(form)
    fitted = Simfluence(form, strength=1e-10).fit(data)
    alpha, beta = law(form, 6, 3)
    np.testing.assert_allclose(fitted.alpha_, alpha, atol=1e-6)
    np.testing.assert_allclose(fitted.beta_, beta, atol=1e-6)


def test_roll_out_equals_a_plain_loop() -> None:
    data = recording("linear")
    query = query_of(data)
    alpha, beta = law("linear", 6, 3)
    expected = np.stack([loop(b, f, alpha, beta) for b, f in zip(query.batches, query.first, strict=True)])
    np.testing.assert_allclose(roll_out(query, 1, alpha, beta), expected, rtol=1e-12)


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


def test_an_unseen_example_changes_nothing() -> None:
    data = recording("linear")
    data = dataclasses.replace(data, pool=testing.make_examples(7))
    fitted = Simfluence().fit(data)
    assert fitted.exposures_[6] == 0
    query = dataclasses.replace(query_of(data), batches=np.full((12, 20, 3), 6))
    values = fitted.predict(query).values
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))


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


def test_a_prediction_does_not_depend_on_what_else_is_asked() -> None:
    dynamics = testing.make_dynamics(every=4)
    fitted = Simfluence().fit(fit_data(dynamics))
    query = testing.make_query(dynamics.with_role(TEST))
    every = fitted.predict(dataclasses.replace(query, steps=np.arange(13))).values
    some = fitted.predict(dataclasses.replace(query, steps=np.array([0, 5, 12]))).values
    np.testing.assert_allclose(some, every[:, [0, 5, 12]])


def fit_data(dynamics: Dynamics) -> FitData:
    return FitData(dynamics.pool, dynamics.test, LOSS, dynamics.with_role(FIT), dynamics.with_role(VALIDATION))


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


def test_counts_leave_padding_out() -> None:
    counts = count(np.array([[[0, 1, 1], [2, -1, -1]], [[-1, -1, -1], [0, 0, -1]]]), 4)
    np.testing.assert_array_equal(counts, [[1, 2, 1, 0], [2, 0, 0, 0]])


def test_bad_input_is_reported() -> None:
    data = recording("linear", runs=2)
    with pytest.raises(UsageError, match="strength is -1: give a positive number"):
        Simfluence("linear", -1)
    with pytest.raises(DataError, match="no recorded run"):
        Simfluence().fit(dataclasses.replace(data, fit_runs=()))
    fitted = Simfluence().fit(data)
    query = query_of(data)
    with pytest.raises(DataError, match="asked about example number 6"):
        fitted.predict(dataclasses.replace(query, batches=query.batches + 1))
    with pytest.raises(DataError, match="fitted on 3 test examples, asked about 2"):
        fitted.predict(dataclasses.replace(query, first=query.first[:, :2]))
    with pytest.raises(DataError, match="leaves all bounds"):
        Simfluence().restore({**fitted.state(), "alpha": np.full((6, 3), 1e99)}).predict(query)
    with pytest.raises(DataError, match="do not fit each other"):
        Simfluence().restore({**fitted.state(), "alpha": np.zeros((5, 3))})


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


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"fit": "adam"}, "fit is 'adam': give ridge or gradient"),
        ({"epochs": 5}, "epochs is 5, but fit is ridge: set fit=gradient or leave it out"),
        ({"fit": "gradient", "strength": 2.0}, "strength is 2.0, but fit is gradient: set fit=ridge or leave it out"),
        ({"fit": "gradient", "epochs": -1}, "epochs is -1: give a whole number of at least 0"),
        ({"fit": "gradient", "learning_rate": 0}, "learning_rate is 0: give a positive number"),
        ({"fit": "gradient", "weight_decay": "x"}, "weight_decay is 'x'"),
        ({"fit": "gradient", "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_settings_that_make_no_sense_are_reported(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Simfluence("linear", **settings)


def test_the_closed_form_loads_no_torch() -> None:
    code = (
        "import sys; from gptfl import testing; from gptfl_simfluence.plugin import gptfl_estimators; "
        "testing.check_estimator(gptfl_estimators()['simfluence-linear']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("fit", ["ridge", "gradient"])
def test_a_batch_is_the_mean_over_its_examples_however_it_is_written(fit: str) -> None:
    data = recording("linear", runs=4)
    for run in data.fit_runs[::2]:
        run.curriculum.batches[::3, -1] = -1
    fitted = Simfluence(fit=fit, **({"epochs": 3} if fit == "gradient" else {"strength": 0.1})).fit(data)
    query = query_of(data)
    query.batches[:, 1::3, -1] = -1
    values = fitted.predict(query).values
    padding = np.full((*query.batches.shape[:2], 2), -1)
    for batches in (np.concatenate([query.batches] * 2, axis=2), np.concatenate([padding, query.batches], axis=2)):
        np.testing.assert_allclose(fitted.predict(dataclasses.replace(query, batches=batches)).values, values)
    np.testing.assert_array_equal(Simfluence().restore(fitted.state()).predict(query).values, values)


def test_a_simulator_of_before_counts_every_place_alike() -> None:
    fitted = Simfluence(strength=0.1).fit(recording("linear"))
    query = query_of(recording("linear", runs=2))
    smaller = dataclasses.replace(query, batches=np.where(np.arange(3) < 2, query.batches, -1))
    old = Simfluence().restore({name: array for name, array in fitted.state().items() if name != "batch"})
    np.testing.assert_array_equal(old.predict(query).values, fitted.predict(query).values)
    expected = [
        loop(batches, first, old.alpha_, old.beta_)
        for batches, first in zip(smaller.batches, smaller.first, strict=True)
    ]
    np.testing.assert_allclose(old.predict(smaller).values, expected)
    assert np.abs(fitted.predict(smaller).values - expected).max() > 1e-3
    with pytest.raises(DataError, match="the usual batch of a simfluence-linear simulator is 0"):
        Simfluence().restore({**fitted.state(), "batch": np.array(0)})


def test_examples_count_by_their_tokens_where_the_loss_is_a_mean_over_them() -> None:
    tokens = np.array([1.0, 5.0, 2.0, 8.0])
    found = count(np.array([[[0, 1, -1], [2, 3, 3]]]), 4, 3, tokens / tokens.mean())
    np.testing.assert_allclose(found, [[3 * 1 / 6, 3 * 5 / 6, 3 * 2 / 18, 3 * 16 / 18]])
