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
