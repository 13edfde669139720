"""A simulator whose state lacks what its recording or its features have gets that again."""

from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.core import blocked_rows
from gptfl.errors import DataError
from gptfl.simulation.given_again import give_again
from gptfl.simulation.simulator import open_fitted
from gptfl.store import gradients as stored
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator
from gptfl.testing import make_dynamics
from tests.released import released, sketches

DYNAMICS = make_dynamics(runs=16, gradients=True)


@pytest.fixture
def spaces(tmp_path, monkeypatch):
    """Two workspaces with the same recording and simulator, the second of which was fitted to products in blocks."""
    paths = []
    for name, large in (("dense", 2**25), ("blocked", 1)):
        monkeypatch.setattr(stored, "LARGE", large)
        monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 100)
        (tmp_path / name).mkdir()
        write_dynamics(tmp_path / name / "a.dynamics.h5", DYNAMICS)
        paths.append(gptfl.fit("tracin-cp", workspace=tmp_path / name).path)
    return paths


def test_products_are_read_from_the_recording_and_answers_are_the_same(spaces):
    dense, blocked = (read_simulator(path) for path in spaces)
    assert dense.key == blocked.key
    assert "products" in dense.state
    assert "products" not in blocked.state
    for on in ("mean", "self", f"test:{DYNAMICS.test[1].id}"):
        one, other = (gptfl.rank(workspace=path.parent, on=on).rankings[0] for path in spaces)
        assert one.how == other.how == "derivative"
        np.testing.assert_allclose(other.influence, one.influence, rtol=1e-6)
    ids = [example.id for example in DYNAMICS.pool[:6]]
    values = [gptfl.simulate(subset=ids, workspace=path.parent, figure=False).values for path in spaces]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-6)


def test_a_recording_that_has_lost_them_is_named(spaces):
    source = open_fitted(spaces[1], None, None, None, None)
    estimator = source.named.estimator.restore(source.found.state)
    assert estimator.lacks_products
    without = replace(source.recording, dynamics=replace(source.recording.dynamics, gradients=None))
    with pytest.raises(DataError, match=r"has lost the gradient products that tracin-cp was fitted to: choose"):
        give_again(estimator, without, source.found, None)
    gradients = source.recording.dynamics.gradients
    other = replace(gradients, self_raw=gradients.self_raw + 1)
    changed = replace(source.recording, dynamics=replace(source.recording.dynamics, gradients=other))
    with pytest.raises(DataError, match="fitted to other gradient products"):
        give_again(estimator, changed, source.found, None)
    give_again(estimator, source.recording, source.found, None)
    assert not estimator.lacks_products


def test_exposure_gp_takes_products_of_an_import_from_its_recording(tmp_path, monkeypatch):
    folder = released(tmp_path / "rte", runs=12, steps=6, pool=10)
    archive, found = sketches(tmp_path / "s.npz", pool=10), []
    for name, large in (("dense", 2**25), ("blocked", 1)):
        space = tmp_path / name
        monkeypatch.setattr(stored, "LARGE", large)
        monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 100)
        gptfl.import_("gptdynamics", folder, lr=1e-3, sketches=archive, workspace=space)
        path = gptfl.fit("exposure-gp", workspace=space).path
        values = gptfl.simulate(subset=["1", "4", "5", "7"], workspace=space, figure=False).values
        influence = gptfl.rank(workspace=space, on="mean").rankings[0].influence
        found.append((read_simulator(path), values, influence))
    dense, blocked = found
    assert dense[0].key == blocked[0].key
    assert "products:raw" in dense[0].state
    assert not [name for name in blocked[0].state if name.startswith("products:")]
    np.testing.assert_allclose(blocked[1], dense[1], rtol=1e-4)
    np.testing.assert_allclose(blocked[2], dense[2], rtol=1e-3, atol=1e-6)
