"""Linear datamodels against plain loops and the primal form of the same regression."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT, TEST, VALIDATION, Curriculum, Dynamics, FitData, MetricInfo, Query, Run
from gptfl.core.curriculum import fill_batches, linear_decay, presentation_weights, recorded_steps
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.ridge import STRENGTHS, fit_ridge, leave_one_out_error
from gptfl.plugins.optional import InfluencesTests
from gptfl.plugins.registry import get_registry
from gptfl_datamodels.dual import Spectrum, least_error, pieces_of
from gptfl_datamodels.estimator import Datamodels
from gptfl_datamodels.tally import Tally, columns_of

LOSS = MetricInfo("loss", higher_is_better=False)


def seen(run: Run, step: int, pool: int, weighted: bool) -> np.ndarray:
    """Exposures, one example at a time."""
    counts = np.zeros(pool)
    for t, batch in enumerate(run.curriculum.batches[:step]):
        for i in batch:
            if i >= 0:
                size = sum(member >= 0 for member in batch)
                counts[i] += (run.curriculum.learning_rates[t] if weighted else 1) / size
    return counts


def law(pool: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return 0.1 * random.normal(size=(pool, test)), 2 + random.random(test)


def recording(runs: int = 12, pool: int = 6, test: int = 3, steps: int = 10, weighted: bool = False) -> FitData:
    """Runs whose values are linear in what was seen."""
    weights, start = law(pool, test)
    made = []
    for index in range(runs):
        batches = fill_batches(np.random.default_rng(index).permutation(pool)[:4], 2 + index % 2, steps, index)
        run = Run(index, index, FIT, Curriculum(batches, linear_decay(0.1, steps)), recorded_steps(steps, 1), {})
        values = np.stack([start + seen(run, step, pool, weighted) @ weights for step in run.steps])
        made.append(dataclasses.replace(run, metrics={"loss": values}))
    return FitData(testing.make_examples(pool), testing.make_examples(test, "test"), LOSS, tuple(made))


def data_of(dynamics: Dynamics) -> FitData:
    return FitData(dynamics.pool, dynamics.test, LOSS, dynamics.with_role(FIT), dynamics.with_role(VALIDATION))


def query_of(run: Run) -> Query:
    return testing.make_query([run])


@pytest.mark.parametrize("steps", ["final", "every"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_keeps_the_promises_of_an_estimator(steps: str, weighted: bool, every: int) -> None:
    dynamics = testing.make_dynamics(every=every, steps=14)
    testing.check_estimator(Datamodels, dynamics=dynamics, steps=steps, weighted=weighted)


def test_is_found_as_an_installed_plugin() -> None:
    registry = get_registry()
    assert registry.find("estimator", "datamodels").owner.startswith("gptfl-datamodels ")
    made = registry.make("estimator", "datamodels", steps="every")
    assert made.settings() == {"steps": "every", "weighted": False, "strength": None}
    assert isinstance(made, InfluencesTests)


@pytest.mark.parametrize("steps", ["final", "every"])
@pytest.mark.parametrize("weighted", [False, True])
def test_recovers_a_law_of_its_own_form(steps: str, weighted: bool) -> None:
    data = recording(runs=20, weighted=weighted)
    fitted = Datamodels(steps, weighted, strength=1e-9).fit(data)
    for run in recording(runs=26, weighted=weighted).fit_runs[20:]:
        np.testing.assert_allclose(fitted.predict(query_of(run)).values[0], data.recorded(run), atol=1e-5)
    # Seen once in a batch of 2 or 3, in place of the average example: the exposures of all runs add up to the same.
    weights = law(6, 3)[0] * (1 / 2 + 1 / 3) / 2
    weights -= weights.mean(axis=0)
    np.testing.assert_allclose(fitted.influence(), -weights, atol=1e-4)
    better = dataclasses.replace(data, metric=dataclasses.replace(LOSS, higher_is_better=True))
    np.testing.assert_allclose(Datamodels(steps, weighted, 1e-9).fit(better).influence(), weights, atol=1e-4)


@pytest.mark.parametrize("strength", [*STRENGTHS[::4], float("inf")])
def test_the_dual_form_equals_the_primal_one(strength: float) -> None:
    random = np.random.default_rng(0)
    x, y, queried = random.normal(size=(7, 20)), random.normal(size=(7, 4)), random.normal(size=(3, 20))
    intercept, coefficients = fit_ridge(x, y, strength)
    dual = Spectrum.of(x @ x.T)
    own_intercept, weights = dual.solve(y, strength)
    np.testing.assert_allclose(own_intercept + queried @ x.T @ weights, intercept + queried @ coefficients, atol=1e-9)
    assert dual.leave_one_out_error(y, strength) == pytest.approx(leave_one_out_error(x, y, strength))


def test_rows_that_are_alike_teach_nothing() -> None:
    x, y = np.ones((4, 3)) * 7.3, np.random.default_rng(0).normal(size=(4, 2))
    intercept, weights = Spectrum.of(x @ x.T).solve(y, 1e-4)
    np.testing.assert_allclose(intercept, y.mean(axis=0))
    np.testing.assert_array_equal(weights, 0)


def test_the_leave_one_out_error_is_that_of_leaving_one_out() -> None:
    """At the penalty that all rows give, which is how it is defined."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(6, 9)), random.normal(size=(6, 2))
    centred = x - x.mean(axis=0)
    penalty = 0.3 * (centred**2).sum() / 6
    error = 0.0
    for left_out in range(6):
        rest = [row for row in range(6) if row != left_out]
        xs, ys = x[rest], y[rest]
        xc, yc = xs - xs.mean(axis=0), ys - ys.mean(axis=0)
        beta = np.linalg.solve(xc.T @ xc + penalty * np.eye(9), xc.T @ yc)
        error += ((ys.mean(axis=0) + (x[left_out] - xs.mean(axis=0)) @ beta - y[left_out]) ** 2).sum()
    assert Spectrum.of(x @ x.T).leave_one_out_error(y, 0.3) == pytest.approx(error)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_step_equals_the_primal_regression_of_that_step(weighted: bool) -> None:
    dynamics = testing.make_dynamics(runs=16)
    data = data_of(dynamics)
    runs = data.fit_runs + data.validation_runs
    fitted = Datamodels("every", weighted, strength=0.1).fit(data)
    for run in dynamics.with_role(TEST):
        values = fitted.predict(query_of(run)).values[0]
        for row, step in enumerate(run.steps[1:], 1):
            x = np.stack([seen(other, step, 10, weighted) for other in runs])
            y = np.stack([data.recorded(other)[row] for other in runs])
            intercept, coefficients = fit_ridge(x, y, 0.1)
            expected = intercept + seen(run, step, 10, weighted) @ coefficients
            np.testing.assert_allclose(values[row], expected, atol=1e-8)


def test_final_is_the_regression_at_the_end_and_before_it_what_was_seen_so_far() -> None:
    dynamics = testing.make_dynamics(runs=16)
    data = data_of(dynamics)
    runs = data.fit_runs + data.validation_runs
    fitted = Datamodels(strength=0.1).fit(data)
    at = {step: np.stack([seen(run, step, 10, False) for run in runs]) for step in range(13)}
    intercept, coefficients = fit_ridge(at[12], np.stack([data.recorded(run)[-1] for run in runs]), 0.1)
    mean = MeanRun().fit(data).mean_
    for run in dynamics.with_role(TEST):
        values = fitted.predict(query_of(run)).values[0]
        np.testing.assert_allclose(values[-1], intercept + seen(run, 12, 10, False) @ coefficients, atol=1e-8)
        for row, step in enumerate(run.steps[1:], 1):
            deviation = (seen(run, step, 10, False) - at[step].mean(axis=0)) @ coefficients
            np.testing.assert_allclose(values[row], mean[row] + deviation, atol=1e-8)


def test_between_recorded_steps_the_functions_are_interpolated() -> None:
    dynamics = testing.make_dynamics(runs=16, every=4)
    data, run = data_of(dynamics), dynamics.with_role(TEST)[0]
    runs = data.fit_runs + data.validation_runs
    queried = dataclasses.replace(query_of(run), steps=np.array([0, 5, 8]))
    value = Datamodels("every", strength=0.1).fit(data).predict(queried).values[0, 1]
    expected = np.zeros(5)
    for row, weight in ((1, 0.75), (2, 0.25)):
        step = int(run.steps[row])
        x = np.stack([seen(other, step, 10, False) for other in runs])
        intercept, coefficients = fit_ridge(x, np.stack([data.recorded(other)[row] for other in runs]), 0.1)
        expected += weight * (intercept + seen(run, 5, 10, False) @ coefficients)
    np.testing.assert_allclose(value, expected, atol=1e-8)


@pytest.mark.parametrize("steps", ["final", "every"])
def test_the_strength_is_the_one_with_the_least_leave_one_run_out_error(steps: str) -> None:
    data = data_of(testing.make_dynamics(runs=16))
    runs = data.fit_runs + data.validation_runs
    errors = np.zeros(len(STRENGTHS))
    for step in range(13) if steps == "every" else [12]:
        x = np.stack([seen(run, step, 10, False) for run in runs])
        y = np.stack([data.recorded(run)[step] for run in runs])
        errors += [leave_one_out_error(x, y, strength) for strength in STRENGTHS]
    best = STRENGTHS[int(np.argmin(errors))]
    assert np.isfinite(best)
    chosen, given = Datamodels(steps).fit(data), Datamodels(steps, strength=best).fit(data)
    np.testing.assert_array_equal(chosen.weights_, given.weights_)
    assert chosen.notes_ == ()


def test_missing_values_leave_a_run_out_of_what_they_concern() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 4)), random.normal(size=(6, 3))
    y[2, 0] = y[:, 1] = np.nan
    pieces = pieces_of(x @ x.T, y)
    assert [(piece.rows.tolist(), piece.columns.tolist()) for piece in pieces] == [
        ([0, 1, 3, 4, 5], [0]),
        ([0, 1, 2, 3, 4, 5], [2]),
    ]
    others = [0, 1, 3, 4, 5]
    intercept, coefficients = fit_ridge(x[others], y[others][:, :1], 0.2)
    own, weights = pieces[0].spectrum.solve(pieces[0].values, 0.2)
    np.testing.assert_allclose(own + x @ x[others].T @ weights, intercept + x @ coefficients, atol=1e-9)
    lone = pieces_of(np.ones((1, 1)), np.ones((1, 2)))
    assert least_error([lone], (0.1, float("inf"))) == float("inf")


def test_nothing_to_learn_is_reported() -> None:
    data = recording(runs=1)
    fitted = Datamodels().fit(data)
    assert fitted.notes_ == ("datamodels: no more than the average run was found",)
    run = recording(runs=3).fit_runs[2]
    np.testing.assert_allclose(fitted.predict(query_of(run)).values[0, 1:], data.recorded(data.fit_runs[0])[1:])


def test_an_example_that_no_run_saw_counts_for_nothing() -> None:
    data = dataclasses.replace(recording(), pool=testing.make_examples(100_000))
    fitted = Datamodels().fit(data)
    run = data.fit_runs[0]
    curriculum = Curriculum(run.curriculum.batches.copy(), run.curriculum.learning_rates)
    curriculum.batches[:, 0] = 99_999
    twin = Curriculum(np.where(curriculum.batches == 99_999, 99_998, curriculum.batches), curriculum.learning_rates)
    one, other = (fitted.predict(query_of(dataclasses.replace(run, curriculum=c))).values for c in (curriculum, twin))
    np.testing.assert_array_equal(one, other)
    assert fitted.influence().shape == (100_000, 3)
    assert not fitted.influence()[99_999].any()
    assert max(array.size for array in fitted.state().values()) < 1000


def test_many_runs_are_predicted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording()
    query = testing.make_query(data.fit_runs[::2])
    expected = Datamodels("every").fit(data).predict(query).values
    monkeypatch.setattr("gptfl_datamodels.estimator.ENTRIES", 13)
    np.testing.assert_allclose(Datamodels("every").fit(data).predict(query).values, expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_tally_counts_what_was_seen_before_a_step(weighted: bool) -> None:
    run = recording(runs=2).fit_runs[1]
    batches, rates = run.curriculum.batches[None], run.curriculum.learning_rates[None]
    columns = columns_of(batches, 6)
    assert (columns >= 0).sum() == 4
    tally = Tally(batches, presentation_weights(batches, rates if weighted else np.ones(rates.shape)), columns)
    for step in (0, 3, 3, 7, 10, 12):
        expected = seen(run, step, 6, weighted)[columns >= 0]
        np.testing.assert_allclose(tally.forward(step).seen.toarray()[0], expected)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"steps": "all"}, "datamodels: steps is 'all': give final or every"),
        ({"weighted": 1}, "weighted is 1: give true or false"),
        ({"strength": 0}, "strength is 0: give a positive number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_reported(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Datamodels(**settings)


def test_what_cannot_be_answered_is_reported() -> None:
    data = recording()
    with pytest.raises(DataError, match="no run to fit"):
        Datamodels().fit(dataclasses.replace(data, fit_runs=()))
    with pytest.raises(DataError, match="isn't fitted"):
        Datamodels().predict(query_of(data.fit_runs[0]))
    fitted, query = Datamodels().fit(data), query_of(data.fit_runs[0])
    with pytest.raises(DataError, match="step 11 is outside steps 0 to 10"):
        fitted.predict(dataclasses.replace(query, steps=np.array([0, 11])))
    with pytest.raises(DataError, match="a pool of 6, asked about example number 6"):
        fitted.predict(dataclasses.replace(query, batches=query.batches * 0 + 6))
    with pytest.raises(DataError, match="on 3 test examples, asked about 2"):
        fitted.predict(dataclasses.replace(query, first=query.first[:, :2]))
    with pytest.raises(DataError, match="'weights' is missing or ill-shaped"):
        Datamodels().restore({**fitted.state(), "weights": np.zeros(2)})
    with pytest.raises(DataError, match="shapes of its arrays don't agree"):
        Datamodels("every").restore(fitted.state())


@pytest.mark.parametrize("settings", [{}, {"weighted": True}, {"steps": "every", "weighted": True}])
def test_a_batch_is_the_mean_over_its_examples_however_it_is_written(settings: dict[str, Any]) -> None:
    data = recording()
    fitted = Datamodels(**settings).fit(data)
    query = testing.make_query(data.fit_runs[1::2])
    query.batches[:, ::3, -1] = -1
    values = fitted.predict(query).values
    padding = np.full((*query.batches.shape[:2], 2), -1)
    for batches in (np.concatenate([query.batches] * 2, axis=2), np.concatenate([padding, query.batches], axis=2)):
        again = fitted.predict(dataclasses.replace(query, batches=batches)).values
        np.testing.assert_allclose(again, values, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_other_step_sizes_count_by_what_they_add_up_to(weighted: bool) -> None:
    data = recording(runs=20, weighted=weighted)
    fitted = Datamodels("every", weighted, strength=1e-9).fit(data)
    query = testing.make_query(data.fit_runs[::2])
    # Each step in two halves, with the same examples.
    halves = dataclasses.replace(
        query,
        batches=np.repeat(query.batches, 2, axis=1),
        learning_rates=np.repeat(query.learning_rates, 2, axis=1) / 2,
        steps=2 * query.steps,
    )
    np.testing.assert_allclose(fitted.predict(halves).values, fitted.predict(query).values, atol=1e-6)
    still = fitted.predict(dataclasses.replace(query, learning_rates=0 * query.learning_rates)).values
    np.testing.assert_array_equal(still, np.repeat(query.first[:, None], len(query.steps), axis=1))
    with pytest.raises(DataError, match=r"step sizes add up to .* those of the recorded runs to at most 0.55,"):
        fitted.predict(dataclasses.replace(query, learning_rates=2 * query.learning_rates))


def test_a_simulator_of_before_answers_as_it_did() -> None:
    for ragged in (False, True):
        data = recording()
        runs = data.fit_runs if ragged else data.fit_runs[::2]
        fitted = Datamodels().fit(dataclasses.replace(data, fit_runs=runs))
        query = testing.make_query(runs[:1])
        old = {name: array for name, array in fitted.state().items() if name not in ("clock", "presentations")}
        if not ragged:
            # Exposures were as many times as large as batches have examples.
            old["weights"] = old["weights"] / 2**2
        restored = Datamodels().restore(old)
        assert restored.presentations_ is ragged
        if not ragged:
            np.testing.assert_allclose(restored.predict(query).values, fitted.predict(query).values, rtol=1e-12)
        again = Datamodels().restore(restored.state())
        np.testing.assert_array_equal(again.predict(query).values, restored.predict(query).values)


def test_examples_count_by_their_tokens_where_the_loss_is_a_mean_over_them() -> None:
    data = recording()
    pool = tuple(dataclasses.replace(one, weight=2 + 5 * place) for place, one in enumerate(data.pool))
    tokens = np.array([one.weight for one in pool], dtype=float)
    fitted = Datamodels(weighted=True).fit(dataclasses.replace(data, pool=pool))
    run = data.fit_runs[0]
    expected = np.zeros(len(pool))
    for batch, rate in zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True):
        there = batch[batch >= 0]
        np.add.at(expected, there, rate * tokens[there] / tokens[there].sum())
    columns = columns_of(fitted.batches_, len(pool))
    seen = fitted.learned_exposures().forward(run.curriculum.steps).seen.toarray()[0]
    np.testing.assert_allclose(seen, expected[columns >= 0])
    query = testing.make_query(data.fit_runs[:1])
    again = Datamodels(weighted=True).restore(fitted.state())
    np.testing.assert_array_equal(again.predict(query).values, fitted.predict(query).values)
