"""Choosing runs from a simulator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError
from gptfl.influence.next_runs import choose_next, outlook_of, sampled
from gptfl.recording.next_runs import NextRuns
from gptfl.simulation.simulator import open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.worths import recording_of_worths

SIZE = 20


@pytest.fixture
def asked(tmp_path: Path) -> NextRuns:
    """A request to choose runs of a recording that a simulator is fitted to."""
    dynamics, vectors, _ = recording_of_worths(0, runs=9)
    path = tmp_path / "worths.dynamics.h5"
    write_dynamics(path, dynamics)
    write_features(tmp_path / "worths.synthetic.features.h5", vectors)
    gptfl.fit("exposure-gp", workspace=tmp_path)
    return NextRuns(path, 2, "mean", SIZE, 7, 0, (), False)


def test_runs_are_chosen_among_the_rows_that_they_may_have(asked: NextRuns) -> None:
    first = choose_next(asked, None, lambda *_: None)
    assert [len(set(one)) for one in first] == [SIZE, SIZE]
    assert choose_next(asked, None, lambda *_: None) == first
    reserved = tuple(first[0][:5])
    assert not set(reserved) & set(np.ravel(choose_next(replace(asked, reserved=reserved), None, lambda *_: None)))


def test_without_a_simulator_the_command_that_makes_one_is_named(asked: NextRuns) -> None:
    for path in asked.path.parent.glob("*.simulator.h5"):
        path.unlink()
    with pytest.raises(DataError, match="run gptfl fit --estimator exposure-gp first"):
        choose_next(asked, None, lambda *_: None)


def test_what_is_all_decided_is_refused(asked: NextRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    from gptfl.influence import next_runs

    monkeypatch.setattr(next_runs, "FDR", 0.49)
    with pytest.raises(DataError, match=r"every row is decided on the mean of all 12 test examples at .* 0\.49"):
        choose_next(asked, None, lambda *_: None)


def test_an_outlook_needs_an_estimator_that_tells_it(asked: NextRuns) -> None:
    gptfl.fit("mean-run", workspace=asked.path.parent)
    source = open_fitted(None, asked.path, None, "mean-run", None)
    with pytest.raises(DataError, match="mean-run can't tell what further runs would tell"):
        outlook_of(source, np.arange(3), np.arange(4))


def test_of_a_large_pool_the_open_rows_come_first() -> None:
    open_ = np.zeros(100, dtype=bool)
    open_[::5] = True
    rows = sampled(open_, np.arange(1, 100), 30)
    assert len(rows) == 30
    assert open_[rows].sum() == 19
    assert 0 not in rows
    assert open_[sampled(open_, np.arange(100), 10)].all()
