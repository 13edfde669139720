"""A fitted exposure-gp kept as arrays and back: to the last bit, of former versions, and damaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import (
    Curriculum,
    Query,
)
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.calibration import Calibration
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.intervals import BEFORE, LEVELS
from gptfl.estimators.exposure_gp.state import errors_of, model_of, padded, state_of
from tests.estimators.exposure_gp.worlds import (
    POOL,
    TEST,
    begun,
    exact,
    question,
    world,
)


def test_exact_products_survive_being_kept():
    data, queried = world(runs=6)
    products, blurred = exact(data, blur=1.0)
    fitted = ExposureGp().fit(replace(blurred, gradients=products))
    state = fitted.state()
    again = ExposureGp(**fitted.settings()).restore(state)
    np.testing.assert_array_equal(fitted.predict(question(queried)).values, again.predict(question(queried)).values)
    for name, wrong in (
        ("products:raw", state["products:raw"][:, 1:]),
        ("products:raw", np.full_like(state["products:raw"], np.nan)),
        ("points:raw", state["points:raw"][:0]),
        ("points:raw", state["points:raw"].astype(np.float64)),
    ):
        with pytest.raises(DataError, match="fit it again"):
            ExposureGp().restore({**state, name: wrong})
    with pytest.raises(DataError, match="fit it again"):
        ExposureGp().restore({name: one for name, one in state.items() if name != "points:raw"})


def test_what_a_runs_own_first_score_is_judged_by_is_kept(monkeypatch):
    data, runs = world(runs=16, queried=4)
    late = tuple(begun(run, 1) for run in data.fit_runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=late))
    state, query = fitted.state(), question([begun(run, 1) for run in runs])
    predicted = fitted.predict(query)
    with monkeypatch.context() as patched:
        patched.setattr(Calibration, "refitted_errors", lambda *_: pytest.fail("models are fitted anew to answer"))
        again = ExposureGp().restore(state).predict(query)
    np.testing.assert_array_equal(predicted.values, again.values)
    np.testing.assert_array_equal(predicted.intervals[0.9], again.intervals[0.9])
    # What older versions kept has none of it, and answers alike.
    older = ExposureGp().restore({name: array for name, array in state.items() if name != "errors"})
    np.testing.assert_allclose(older.predict(query).values, predicted.values, rtol=1e-4)
    # Nothing is kept that isn't asked for.
    assert "errors" not in ExposureGp().fit(data).state()


@pytest.mark.parametrize("settings", [{}, {"features": False}, {"prior": False}])
def test_is_the_same_to_the_last_bit_after_its_state_was_taken_back(settings):
    data, runs = world(runs=8)
    fitted = ExposureGp(**settings).fit(data)
    copied = {name: np.array(array) for name, array in fitted.state().items()}
    restored = ExposureGp(**fitted.settings()).restore(copied)
    one, other = (estimator.predict(question(runs)) for estimator in (fitted, restored))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.novelty, other.novelty)
    for level in LEVELS:
        np.testing.assert_array_equal(one.intervals[level], other.intervals[level])
    vectors = {} if "features" in settings else {"raw-0": data.features.sets["raw-0"].train}
    given = np.arange(POOL), vectors, np.eye(TEST)
    np.testing.assert_array_equal(fitted.influence_of(*given), restored.influence_of(*given))


def test_what_a_state_of_before_does_not_keep_is_found_anew():
    data, runs = world(runs=8)
    state = ExposureGp().fit(data).state()
    older = {name: array for name, array in state.items() if name not in ("strengths", "reach")}
    # The first simulators knew intervals of two levels.
    two = {**state, "reach": state["reach"][[LEVELS.index(level) for level in BEFORE]]}
    for given in (older, two):
        one, other = (ExposureGp().restore(found).predict(question(runs)) for found in (state, given))
        np.testing.assert_array_equal(one.values, other.values)
        assert tuple(other.intervals) == LEVELS
        for level in LEVELS:
            np.testing.assert_array_equal(one.intervals[level], other.intervals[level])


DAMAGE = {
    "missing": lambda state: state.pop("values"),
    "no test side": lambda state: state.pop("test:raw-0"),
    "pool": lambda state: state.update(seen=state["seen"][:-5]),
    "huge index": lambda state: state.update(batches=state["batches"] + 10**12),
    "fractions": lambda state: state.update(batches=state["batches"] + 0.5),
    "dimensions": lambda state: state.update(values=state["values"][0]),
    "fewer runs": lambda state: state.update(values=state["values"][:1]),
    "all lost": lambda state: state.update(values=state["values"] * np.nan),
    "rates": lambda state: state.update(learning_rates=state["learning_rates"][:, 1:]),
    "endless rates": lambda state: state.update(learning_rates=state["learning_rates"] * np.inf),
    "steps": lambda state: state.update(steps=state["steps"][::-1]),
    "train": lambda state: state.update({"train:raw-0": state["train:raw-0"][:, 0]}),
    "test": lambda state: state.update({"test:raw-0": state["test:raw-0"][:2]}),
    "widths": lambda state: state.update({"test:raw-0": state["test:raw-0"][:, :2]}),
    "infinite": lambda state: state.update({"train:raw-0": state["train:raw-0"] * np.inf}),
    "weights": lambda state: state.update(weights=state["weights"][:1]),
    "no weights": lambda state: state.update(weights=state["weights"] * np.nan),
    "scales": lambda state: state.update(scales=np.ones(9)),
    "shares": lambda state: state.update(shares=np.array([2.0, 0.5])),
    "one share": lambda state: state.update(shares=np.array([0.5])),
    "link": lambda state: state.update(link=np.array([9.0, 0, 1, 1])),
    "negative link": lambda state: state.update(link=np.array([-1.0, 0, 1, 1])),
    "strengths": lambda state: state.update(strengths=state["strengths"][1:]),
    "errors": lambda state: state.update(errors=np.zeros((2, 2, 2))),
    "infinite errors": lambda state: state.update(errors=np.full(state["values"].shape, np.inf)),
    "negative strengths": lambda state: state.update(strengths=-state["strengths"]),
    "reach": lambda state: state.update(reach=state["reach"][:1]),
    "endless reach": lambda state: state.update(reach=state["reach"] * np.inf),
    "no link": lambda state: state.update(link=np.array([np.nan, 0, 1, 1])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_refused_in_one_line(damage):
    data, _ = world(runs=4)
    state = {name: np.array(array) for name, array in ExposureGp().fit(data).state().items()}
    damage(state)
    with pytest.raises(DataError, match="exposure-gp: its arrays are missing or ill-shaped") as error:
        ExposureGp().restore(state)
    assert "\n" not in str(error.value)


def test_a_simulator_fitted_before_predicts_what_it_did():
    """An archived state and what it predicted when it was made, before there were rules to say by which it does."""
    with np.load(Path(__file__).parent / "samples" / "exposure-gp.v1.npz") as kept:
        sample = dict(kept)
    state = {name.removeprefix("state/"): array for name, array in sample.items() if name.startswith("state/")}
    restored = ExposureGp().restore(state)
    predicted = restored.predict(Query(*(sample[name] for name in ("batches", "learning_rates", "steps", "first"))))
    np.testing.assert_allclose(predicted.values, sample["values"], rtol=1e-6)
    for bound, name in zip(predicted.intervals[0.9], ("low", "high"), strict=True):
        np.testing.assert_allclose(bound, sample[name], rtol=1e-6)
    np.testing.assert_allclose(predicted.novelty, sample["novelty"], rtol=1e-6)
    assert "rules" not in restored.state()
    with pytest.raises(DataError, match="predicts by rules 7"):
        ExposureGp().restore({**state, "rules": np.array(7)})


def test_shorter_and_narrower_runs_are_filled_up():
    made = [
        Curriculum(np.array([[0, 1], [2, 3], [4, 5]]), np.arange(3.0)),
        Curriculum(np.array([[7]]), np.array([9.0])),
    ]
    batches, rates = padded(made)
    np.testing.assert_array_equal(batches[1], [[7, -1], [-1, -1], [-1, -1]])
    np.testing.assert_array_equal(batches[0], made[0].batches)
    np.testing.assert_array_equal(rates, [[0, 1, 2], [9, 0, 0]])


def test_a_model_is_its_arrays_and_errors_are_of_its_runs():
    model = ExposureGp().fit(world(runs=4)[0]).model_
    state = state_of(model)
    again = state_of(model_of(state, prior=True))
    assert again.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)
    assert errors_of(state, model) is None
    errors = np.full(model.recorded.values.shape, 0.5)
    assert errors_of({"errors": errors}, model) is errors
    for wrong in (errors[1:], errors.astype(int), errors * np.inf):
        with pytest.raises(ValueError, match="errors are not of the runs"):
            errors_of({"errors": wrong}, model)
