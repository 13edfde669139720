"""Fits are told apart by all that determines them, and taken back where they are there already."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import GradientProducts, silent
from gptfl.core.splits import stored_split
from gptfl.errors import ResourceError
from gptfl.estimators.class_share import ClassShare
from gptfl.plugins import EstimatorTags
from gptfl.plugins.parts import Part
from gptfl.simulation import fitting
from gptfl.simulation.fitting import (
    KEPT,
    fit_data,
    fit_fresh,
    fit_or_load,
    simulator_file,
    simulator_key,
)
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.unseen import hold_out_examples
from gptfl.store.simulators import read_simulator, write_simulator
from gptfl.store.workspace import Workspace
from tests.simulation.singles import products
from tests.synthetic import LOSS, synthetic


class Counting(ClassShare):
    """Class-share that counts how often it is fitted, and has something to tell."""

    fits = 0

    def fit(self, data):
        type(self).fits += 1
        fitted = super().fit(data)
        fitted.notes_ = ("größe",)
        return fitted


def named(owner="gptfl", **settings):
    return NamedEstimator(Part("estimator", "class-share", owner, Counting), Counting(**settings))


@pytest.fixture
def recording(source_of, tmp_path):
    return replace(source_of("class-share").recording, workspace=Workspace(tmp_path))


def data_of(recording, seed=0, estimator=None, features=None):
    split = stored_split(recording.dynamics.runs)
    return fit_data(recording, split, LOSS, features, seed, silent, estimator or Counting())


def test_everything_that_determines_a_fit_is_in_its_key(recording):
    data = data_of(recording)
    features = synthetic(2, pool=10, test=5)[1]
    held_out = hold_out_examples(recording.dynamics, "train", 0.3, 1)
    keys = [
        simulator_key(named(), recording, data),
        simulator_key(named(strength=0.5), recording, data),
        simulator_key(named("acme 1.0"), recording, data),
        simulator_key(named("acme 1.1"), recording, data),
        simulator_key(named(), recording, replace(data, seed=1)),
        simulator_key(named(), recording, replace(data, fit_runs=data.fit_runs[1:])),
        simulator_key(named(), recording, replace(data, validation_runs=data.fit_runs[:1])),
        simulator_key(named(), recording, replace(data, features=features)),
        simulator_key(named(), recording, replace(data, gradients=products(10, 5))),
        simulator_key(named(), replace(recording, held_out=held_out), data),
    ]
    assert len(set(keys)) == len(keys)
    assert simulator_key(named(), recording, data_of(recording)) == keys[0]


@pytest.mark.parametrize(("tag", "given"), [("requires", True), ("takes", True), (None, False)])
def test_gradients_are_given_to_who_asks_for_them(recording, tag, given):
    gradients = products(10, 5)
    assert isinstance(gradients, GradientProducts)
    full = replace(recording, dynamics=replace(recording.dynamics, gradients=gradients))
    estimator = Counting()
    estimator.tags = EstimatorTags(**({} if tag is None else {tag: {"gradients"}}))
    data = data_of(full, estimator=estimator)
    assert (data.gradients is not None) == given
    assert data.fit_runs == stored_split(recording.dynamics.runs).fit


def test_a_fit_of_the_same_key_is_taken_back(recording, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", 0.0)
    data, before = data_of(recording), Counting.fits
    first = fit_or_load(named(), recording, data)
    again = fit_or_load(named(), recording, data)
    assert Counting.fits == before + 1
    assert (first.reused, again.reused) == (False, True)
    assert first.notes == again.notes == ("größe",)
    assert first.key == again.key
    for name, values in first.named.estimator.state().items():
        np.testing.assert_array_equal(again.named.estimator.state()[name], values)
    (path,) = recording.workspace.root.rglob("*.h5")
    assert path.parent.name == KEPT
    fit_or_load(named(), recording, data_of(recording, seed=3))
    assert Counting.fits == before + 2


def test_a_quick_fit_is_not_kept_and_one_of_gptfl_fit_is_preferred(recording, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", float("inf"))
    data = data_of(recording)
    fitted = fit_or_load(named(), recording, data)
    assert not list(recording.workspace.root.rglob("*.h5"))
    path = recording.workspace.simulator_path(recording.stem, "class-share", "loss", fitted.key)
    write_simulator(path, simulator_file(fitted, recording, data))
    assert fit_or_load(named(), recording, data).reused


def test_a_damaged_fit_is_made_again_and_told(recording, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", 0.0)
    data = data_of(recording)
    fit_or_load(named(), recording, data)
    (path,) = recording.workspace.root.rglob("*.h5")
    path.write_bytes(b"nothing")
    found = fit_or_load(named(), recording, data)
    assert not found.reused
    assert found.notes[0].startswith("class-share was fitted again, because ")
    assert read_simulator(path).key == found.key


def test_a_fit_that_cannot_be_kept_is_used_all_the_same(recording, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", 0.0)

    def full(path, file):
        raise ResourceError(f"{path} can't be written", "make room") from OSError(28, "No space left on device")

    monkeypatch.setattr(fitting, "write_simulator", full)
    found = fit_or_load(named(), recording, data_of(recording))
    assert found.notes[0].startswith("fits couldn't be kept in ")
    assert "(No space left on device): they are made anew the next time" in found.notes[0]


def test_a_file_says_what_was_fitted_to(recording):
    data = data_of(recording, seed=4)
    fitted = fit_fresh(named(strength=0.5), recording, data)
    file = simulator_file(fitted, recording, data)
    assert (file.estimator, file.settings, file.key) == ("class-share", {"strength": 0.5}, fitted.key)
    assert file.info["fit_runs"] == [run.index for run in data.fit_runs]
    assert (file.info["seed"], file.info["notes"], file.info["unseen"]) == (4, ["größe"], None)
    assert file.dynamics == recording.dynamics.fingerprint
