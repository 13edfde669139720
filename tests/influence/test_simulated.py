"""Influence by simulation, against plain loops."""

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.influence import simulated as simulated_influence
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store import features as stored
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.ranked import (
    FEATURES,
    TESTS,
    dropped,
    loop,
    replaced,
)
from tests.synthetic import synthetic


@pytest.mark.parametrize(("how", "plainly"), [("drop", dropped), ("replace", replaced)])
@pytest.mark.parametrize("numbers", [simulated_influence.MAX_NUMBERS, 200])
def test_batched_influences_are_those_of_a_plain_loop(ranked_space, monkeypatch, how, plainly, numbers) -> None:
    monkeypatch.setattr(GPTfluence, "replacement_form", lambda self, query, replaced: None)
    monkeypatch.setattr(simulated_influence, "MAX_NUMBERS", numbers)
    fitted = gptfl.fit("gptfluence", workspace=ranked_space, settings={"epochs": 30})
    source = open_fitted(fitted.path, None, ranked_space, None, None)
    for on, reading in (("mean", np.mean), (f"test:{TESTS[2]}", lambda values: values[2])):
        result = gptfl.rank(workspace=ranked_space, on=on, how=how, orders=2, seed=5)
        expected = loop(source, plainly, reading)
        np.testing.assert_allclose(result.rankings[0].influence, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", ["drop", "replace"])
def test_an_additive_simulator_gives_back_its_own_influences(ranked_space, how) -> None:
    gptfl.fit("kin", workspace=ranked_space)
    vectors = np.asarray(FEATURES.sets["vectors"].train, dtype=float)
    tests = np.asarray(FEATURES.sets["vectors"].test, dtype=float)
    for on, truth in (("mean", vectors @ tests.mean(axis=0)), ("self", (vectors**2).sum(axis=1))):
        influence = gptfl.rank(workspace=ranked_space, on=on, how=how, orders=40).rankings[0].influence
        assert np.corrcoef(influence, truth)[0, 1] > 0.9


def test_runs_over_the_whole_pool_leave_nothing_to_replace_with(tmp_path, tellers) -> None:
    dynamics, features = synthetic(runs=8, pool=6, test=3, subset=6, batch_size=3, steps=4, every=1)
    write_dynamics(tmp_path / "all.dynamics.h5", dynamics)
    write_features(tmp_path / "all.synthetic.features.h5", features)
    gptfl.fit("kin", workspace=tmp_path)
    with pytest.raises(DataError, match=r"--how replace: the recorded runs see all 6 .*: use --how drop"):
        gptfl.rank(workspace=tmp_path, how="replace")
    assert len(gptfl.rank(workspace=tmp_path, how="drop").rankings[0].influence) == 6


@pytest.mark.parametrize("how", ["drop", "replace"])
def test_influence_on_themselves_is_found_for_some_examples_at_a_time(ranked_space, monkeypatch, how) -> None:
    monkeypatch.setattr(GPTfluence, "replacement_form", lambda self, query, replaced: None)
    gptfl.fit("gptfluence", workspace=ranked_space, settings={"epochs": 30})
    whole = gptfl.rank(workspace=ranked_space, on="self", how=how, orders=2, seed=5).rankings[0].influence
    asked = []
    predict = FittedSimulator.predict
    monkeypatch.setattr(
        FittedSimulator, "predict", lambda self, query: asked.append(query.first.shape[1]) or predict(self, query)
    )
    monkeypatch.setattr(simulated_influence, "TESTS", 3)
    for large in (2**25, 1):  # in memory, and in blocks
        monkeypatch.setattr(stored, "LARGE", large)
        parts = gptfl.rank(workspace=ranked_space, on="self", how=how, orders=2, seed=5).rankings[0].influence
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-6)
    assert max(asked) == 3
