"""Influence of all examples together, against simulating one curriculum after another."""

from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.errors import PluginError
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.influence import replacement_effects, simulated
from gptfl.plugins.optional import HasReplacementForm
from gptfl.plugins.registry import build, using
from gptfl.simulation.simulator import open_fitted
from gptfl.store import features as stored
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests import replacement_forms
from tests.ranked import TESTS, loop, replaced
from tests.synthetic import synthetic

CLOSE = {"rtol": 2e-4, "atol": 2e-7}


@pytest.fixture
def unasked(monkeypatch):
    """No curriculum is simulated for a ranking."""

    def refuse(*given):
        raise AssertionError("a curriculum was simulated")

    monkeypatch.setattr(simulated, "_influence", refuse)


@pytest.mark.parametrize("settings", [{}, {"order": 2}, {"around": "mean-run"}])
def test_influences_are_those_of_a_plain_loop(ranked_space, unasked, settings) -> None:
    fitted = gptfl.fit("gptfluence", workspace=ranked_space, settings={"epochs": 30, **settings})
    source = open_fitted(fitted.path, None, ranked_space, None, None)
    for on, reading in (("mean", np.mean), (f"test:{TESTS[2]}", lambda values: values[2])):
        result = gptfl.rank(workspace=ranked_space, on=on, orders=2, seed=5)
        np.testing.assert_allclose(result.rankings[0].influence, loop(source, replaced, reading), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("subset", [6, 13])
@pytest.mark.parametrize("small", [False, True])
def test_rankings_are_those_by_simulation(tmp_path, monkeypatch, subset, small) -> None:
    dynamics, features = synthetic(runs=10, pool=14, test=5, subset=subset, batch_size=3, steps=8, every=2)
    write_dynamics(tmp_path / "syn.dynamics.h5", dynamics)
    write_features(tmp_path / "syn.synthetic.features.h5", replace(features, examples=dynamics.examples))
    gptfl.fit("gptfluence", workspace=tmp_path, settings={"epochs": 30})
    if small:
        monkeypatch.setattr(replacement_effects, "BLOCK", 3)
        monkeypatch.setattr(replacement_effects, "TESTS", 4)
        monkeypatch.setattr(replacement_effects, "MAX_NUMBERS", 120)
        monkeypatch.setattr(stored, "LARGE", 1)

    def ranked() -> list[np.ndarray]:
        asked = [gptfl.rank(workspace=tmp_path, on=on, orders=2, seed=5).rankings[0] for on in ("mean", "self")]
        grouped = gptfl.rank(workspace=tmp_path, by="class", orders=2, seed=5).rankings[0].groups
        return [*(one.influence for one in asked), grouped.influence]

    found = ranked()
    monkeypatch.setattr(GPTfluence, "replacement_form", lambda self, query, replaced: None)
    for got, expected in zip(found, ranked(), strict=True):
        np.testing.assert_allclose(got, expected, **CLOSE)
        assert np.ptp(expected) > 1e-4


def test_an_estimator_without_a_form_for_these_runs_is_simulated(ranked_space, monkeypatch) -> None:
    gptfl.fit("gptfluence", workspace=ranked_space, settings={"epochs": 30})
    found = gptfl.rank(workspace=ranked_space, orders=2).rankings[0].influence
    monkeypatch.setattr(GPTfluence, "replacement_form", lambda self, query, replaced: None)
    np.testing.assert_allclose(gptfl.rank(workspace=ranked_space, orders=2).rankings[0].influence, found, **CLOSE)


@pytest.mark.parametrize(("on", "shape"), [("mean", r"\(1,\), not finite ones of \(9,\)"), ("self", r"\(1, 1\)")])
def test_an_ill_shaped_answer_is_told_of(ranked_space, on, shape) -> None:
    with using(build([replacement_forms])):
        gptfl.fit("misfit", workspace=ranked_space)
        assert isinstance(open_fitted(None, None, ranked_space, "misfit", None).named.estimator, HasReplacementForm)
        with pytest.raises(PluginError, match=f"estimator 'misfit' .* told where runs end by values of shape {shape}"):
            gptfl.rank(workspace=ranked_space, estimators=["misfit"], on=on)
