"""The estimators simfluence-*: what they promise, take, refuse and keep."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import TEST
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl_simfluence.estimator import Simfluence
from gptfl_simfluence.plugin import gptfl_estimators
from tests.simfluence import FORMS, fit_data, loop, query_of, recording


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


def test_an_unseen_example_changes_nothing() -> None:
    data = recording("linear")
    data = dataclasses.replace(data, pool=testing.make_examples(7))
    fitted = Simfluence().fit(data)
    assert fitted.exposures_[6] == 0
    query = dataclasses.replace(query_of(data), batches=np.full((12, 20, 3), 6))
    values = fitted.predict(query).values
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))


def test_a_prediction_does_not_depend_on_what_else_is_asked() -> None:
    dynamics = testing.make_dynamics(every=4)
    fitted = Simfluence().fit(fit_data(dynamics))
    query = testing.make_query(dynamics.with_role(TEST))
    every = fitted.predict(dataclasses.replace(query, steps=np.arange(13))).values
    some = fitted.predict(dataclasses.replace(query, steps=np.array([0, 5, 12]))).values
    np.testing.assert_allclose(some, every[:, [0, 5, 12]])


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
