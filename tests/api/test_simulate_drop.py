"""What leaving rows out is held against, in which orders, and how sure the change is."""

from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.simulation.forms import linear_form_of
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10)
POOL = [example.id for example in DYNAMICS.pool]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    write_dynamics(folder / "made.dynamics.h5", DYNAMICS)
    write_features(folder / "made.synthetic.features.h5", FEATURES)
    gptfl.fit("mean-run", workspace=folder)
    gptfl.fit("gptfluence", workspace=folder, settings={"epochs": 10})
    return folder


def test_a_drop_is_held_against_the_whole_pool_in_as_many_orders(made: Path) -> None:
    result = gptfl.simulate(workspace=made, drop=POOL[:2])
    assert (len(result.labels), result.reference.what) == (8, f"the whole pool ({len(POOL)} examples)")
    whole = gptfl.simulate(workspace=made, subset=POOL, orders=8)
    np.testing.assert_allclose(result.reference.final, whole.final, rtol=1e-6)
    np.testing.assert_allclose(result.change, result.final - whole.final, atol=1e-6)
    assert not result.change_intervals
    assert len(gptfl.simulate(workspace=made, drop=POOL[:2], orders=2).labels) == 2
    named = gptfl.simulate(workspace=made, drop=POOL[:2], against=POOL[:8], orders=1)
    assert (len(named.labels), named.reference.what) == (1, "another subset (8 examples)")
    held = gptfl.open_simulator(workspace=made).simulate(drop=POOL[:2])
    assert np.array_equal(held.change, result.change)
    alone = gptfl.simulate(workspace=made, estimator="mean-run", drop=POOL[:2])
    np.testing.assert_allclose(alone.change, 0, atol=1e-12)


def test_a_drop_is_told_of_every_order_with_an_interval_where_that_is_known(tmp_path: Path) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", DYNAMICS)
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    simulator = gptfl.fit("exposure-gp", workspace=tmp_path)
    drop, rest = POOL[:3], POOL[3:]
    result = gptfl.simulate(workspace=tmp_path, drop=drop)
    assert result.labels == ("every order",)
    ends = [simulator.simulate(one, every_order=True).final for one in (rest, POOL)]
    np.testing.assert_allclose(result.change, ends[0] - ends[1], atol=1e-6)
    form = linear_form_of(simulator.opened)
    change, spread = form.difference(np.arange(3, len(POOL)), np.arange(len(POOL)))
    assert result.mean_change == pytest.approx(change, abs=1e-2 * spread)
    low, high = result.change_intervals[0.9]
    assert (low + high) / 2 == pytest.approx(result.mean_change)
    assert (high - low) / 2 == pytest.approx(form.intervals.reach[0.9] * spread)
    # That of some orders is wider by their chance.
    some = gptfl.simulate(workspace=tmp_path, drop=drop, orders=4)
    few_low, few_high = some.change_intervals[0.9]
    assert (few_low + few_high) / 2 == pytest.approx(some.mean_change)
    assert few_high - few_low > high - low
    # Another recipe and single runs have no such interval.
    for other in ({"lr": 0.2}, {"steps": 5}):
        assert not gptfl.simulate(workspace=tmp_path, drop=drop, **other).change_intervals
    two = gptfl.simulate(workspace=tmp_path, subset=rest, against=POOL, every_order=True)
    assert two.change_intervals[0.9] == pytest.approx((low, high))
