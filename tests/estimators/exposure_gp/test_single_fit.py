"""A simulator of one run: its answers, its arrays, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gptfl.core import FitData, MetricInfo
from gptfl.core.curriculum import fill_batches
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.inputs import Sides, Sources
from gptfl.estimators.exposure_gp.single_fit import PREFIX, FittedSingleRun, unit_effects_of
from tests.estimators.exposure_gp.singles import (
    BATCH,
    POOL,
    STEPS,
    TEST,
    data_of,
    query_of,
    run_of,
    single,
    vectors,
)


def test_another_run_departs_by_what_it_saw(exact_run: tuple[FitData, np.ndarray], fitted_to_one: ExposureGp) -> None:
    data, effects = exact_run
    (run,) = data.fit_runs
    others = np.stack([run.curriculum.batches, fill_batches(np.arange(6), BATCH, STEPS, 3)])
    found = fitted_to_one.predict(query_of(run, others))
    np.testing.assert_allclose(found.values[0], run.metrics["loss"], rtol=1e-6)
    truth = run_of(others[1], run.curriculum.learning_rates, effects).metrics["loss"]
    np.testing.assert_allclose(found.values[1], np.maximum(truth, 0.0), rtol=0.01, atol=0.01)
    low, high = found.intervals[0.9]
    assert ((low <= found.values) & (found.values <= high)).all()
    assert (high - low)[1, -1].min() > (high - low)[0, -1].max()
    assert found.novelty is not None
    np.testing.assert_array_equal(found.novelty, 1.0)


def test_what_was_learned_comes_back(exact_run: tuple[FitData, np.ndarray], fitted_to_one: ExposureGp) -> None:
    (run,) = exact_run[0].fit_runs
    again = ExposureGp().restore({name: np.array(array) for name, array in fitted_to_one.state().items()})
    query = query_of(run, fill_batches(np.arange(6), BATCH, STEPS, 3)[None])
    one, other = fitted_to_one.predict(query), again.predict(query)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.intervals[0.9][0], other.intervals[0.9][0])
    np.testing.assert_array_equal(fitted_to_one.self_influence(), again.self_influence())
    assert again.has_self_influence


@pytest.mark.parametrize("name", ["batches", "now", "end_points", "told", "alike", "steps", "values"])
def test_arrays_that_are_none_of_a_run_are_refused(fitted_to_one: ExposureGp, name: str) -> None:
    state = {key: np.array(array) for key, array in fitted_to_one.state().items()}
    for broken in (state[f"single:{name}"][..., :0], None):
        changed = (
            {**state, f"single:{name}": broken}
            if broken is not None
            else {key: array for key, array in state.items() if key != f"single:{name}"}
        )
        with pytest.raises(DataError, match="its arrays are missing or ill-shaped"):
            ExposureGp().restore(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "embedding"}, "without gradients it tells nothing of single examples"),
        ({"metric": MetricInfo("accuracy", True, 0.0, 1.0)}, "gradients are of the loss alone, not of accuracy"),
    ],
)
def test_one_run_needs_gradients_and_the_loss(
    exact_run: tuple[FitData, np.ndarray], change: dict[str, Any], message: str
) -> None:
    (run,) = exact_run[0].fit_runs
    run = replace(run, metrics={**run.metrics, "accuracy": run.metrics["loss"]})
    with pytest.raises(DataError, match=message):
        ExposureGp().fit(data_of(run, **change))


def test_what_one_run_cannot_tell_is_refused(exact_run: tuple[FitData, np.ndarray], fitted_to_one: ExposureGp) -> None:
    (run,) = exact_run[0].fit_runs
    query = query_of(run, run.curriculum.batches[None])
    observed = np.full((1, len(run.steps), TEST), np.nan)
    for question, message in (
        (replace(query, observed=observed), "can't go on from what was observed"),
        (replace(query, learning_rates=0.5 * query.learning_rates), "knows the step sizes of that run alone"),
    ):
        with pytest.raises(DataError, match=message):
            fitted_to_one.predict(question)
    with pytest.raises(DataError, match="knows that run's examples alone"):
        fitted_to_one.influence_of(np.array([-1]), {}, np.eye(TEST))


def test_all_of_it_is_kept_as_arrays_of_one_prefix(fitted_to_one: ExposureGp) -> None:
    known = single(fitted_to_one)
    state = known.state()
    assert all(name.startswith(PREFIX) for name in state)
    again = FittedSingleRun.from_state({**state, "other": np.ones(3)})
    for name, array in again.state().items():
        np.testing.assert_array_equal(array, state[name])
    for name, wrong in (
        ("told", -state[f"{PREFIX}told"]),
        ("told", state[f"{PREFIX}told"][:3]),
        ("steps", state[f"{PREFIX}steps"][::-1]),
        ("batches", state[f"{PREFIX}batches"] + POOL),
        ("values", state[f"{PREFIX}values"] * np.nan),
        ("now_points", np.empty(0, dtype=int)),
        ("alike", state[f"{PREFIX}alike"][:2]),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            FittedSingleRun.from_state({**state, PREFIX + name: wrong})
    with pytest.raises(TypeError, match="not whole numbers"):
        FittedSingleRun.from_state({**state, f"{PREFIX}batches": state[f"{PREFIX}batches"] + 0.5})


def test_unit_effects_are_minus_the_products_of_gradients() -> None:
    (train, test), (later, theirs) = vectors(), vectors(1)
    sets = {"raw-0": Sides(train, test, True), "raw-10": Sides(later, theirs, True)}
    found = unit_effects_of(Sources.of(sets), None)
    assert found.now.points.tolist() == found.end.points.tolist() == [0, 10]
    np.testing.assert_allclose(found.now.rows[0], -(train @ test.T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.now.rows[1], -(later @ theirs.T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.end.rows[0], -(train @ theirs.T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.correlation, found.correlation.T)
