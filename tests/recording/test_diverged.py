"""A run that diverged takes no part in any mean over runs, and is named, unless it is asked for."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.api.learning_curve import learning_curve
from gptfl.api.simulate import simulate
from gptfl.api.sweep import sweep
from gptfl.recording.inspect import inspect
from gptfl.simulation.fit import fit
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator, write_simulator
from tests.synthetic import synthetic

BAD = "run-0004"  # a run to fit
LEFT = f"{BAD} diverged (loss 1e+06 at step 18, where the other runs' median is "
OUT = "): left out of fits, means and scores; --keep-diverged takes it in"


@pytest.fixture
def spoilt(space):
    """The recording of 24 runs, of which one ends at 1e6, and the same without that run."""
    dynamics, _ = synthetic(24)
    values = dynamics.runs[4].metrics["loss"].copy()
    values[-1] = 1e6
    bad = replace(dynamics.runs[4], metrics={"loss": values})
    runs = (*dynamics.runs[:4], bad, *dynamics.runs[5:])
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=runs))
    write_dynamics(space / "without.dynamics.h5", replace(dynamics, runs=(*runs[:4], *runs[5:])))
    return space


def scores(comparison):
    return {row.estimator: {name: one.value for name, one in row.scores.items()} for row in comparison.rows}


@pytest.mark.parametrize("folds", [None, 4])
def test_compare_is_as_if_the_run_were_not_there(spoilt, folds):
    found = compare(dynamics=spoilt / "syn.dynamics.h5", estimators=["recall"], folds=folds, figure=False)
    clean = compare(dynamics=spoilt / "without.dynamics.h5", estimators=["recall"], folds=folds, figure=False)
    assert scores(found) == scores(clean)
    assert BAD not in found.held_out.names
    (note,) = (note for note in found.notes if "diverged" in note)
    assert note.startswith(LEFT)
    assert note.endswith(OUT)
    assert not any("diverged" in note for note in clean.notes)


def test_it_may_be_kept_and_then_every_estimator_is_as_good_as_any(spoilt):
    path = spoilt / "syn.dynamics.h5"
    found = compare(dynamics=path, estimators=[], folds=4, figure=False, keep_diverged=True)
    assert found.runs == 24
    assert "kept, as --keep-diverged asks" in " ".join(found.notes)
    assert any(note.startswith(f"{BAD} alone makes ") for note in found.notes)


def test_fit_and_simulate_leave_it_out_and_name_it(spoilt):
    path = spoilt / "syn.dynamics.h5"
    result = fit("mean-run", dynamics=path)
    clean = fit("mean-run", dynamics=spoilt / "without.dynamics.h5", output=spoilt / "w.simulator.h5")
    assert any(note.startswith(LEFT) for note in result.notes)
    assert result.fit_runs == clean.fit_runs
    known, expected = read_simulator(result.path), read_simulator(clean.path)
    np.testing.assert_array_equal(known.state["mean"], expected.state["mean"])
    said = simulate(result.path, dynamics=path, subset=["train-0", "train-1"])
    assert any(note.startswith(LEFT) for note in said.notes)
    assert said.mean_reference < 10


def test_a_simulator_fitted_to_it_goes_on_working(spoilt):
    path = spoilt / "syn.dynamics.h5"
    kept = fit("mean-run", dynamics=path, keep_diverged=True)
    assert simulate(kept.path, dynamics=path, subset=["train-0"]).mean_reference > 1e4
    # One of before there was a choice says nothing of it.
    found = read_simulator(kept.path)
    info = {key: value for key, value in found.info.items() if key != "kept_diverged"}
    old = spoilt / "old.simulator.h5"
    write_simulator(old, replace(found, info=info))
    assert simulate(old, dynamics=path, subset=["train-0"]).mean_reference > 1e4


def test_sweeps_leave_it_out_too(spoilt):
    path = spoilt / "syn.dynamics.h5"
    runs = learning_curve([2, 4], dynamics=path, estimators=["class-share"], figure=False)
    assert runs.fittable == sum(run.role != "test" for run in synthetic(24)[0].runs) - 1
    assert any(note.startswith(LEFT) for note in runs.notes)
    over = sweep({"every": [1, 2]}, estimator="class-share", dynamics=path, figure=False)
    assert all(BAD not in point.comparison.held_out.names for point in over.points)


def test_inspect_names_it(spoilt):
    rows = [value for label, value in inspect(spoilt / "syn.dynamics.h5").rows if label == "diverged"]
    assert len(rows) == 1
    assert rows[0].startswith(LEFT)
    assert not any(label == "diverged" for label, _ in inspect(spoilt / "without.dynamics.h5").rows)


def test_a_run_that_makes_most_of_the_error_without_having_diverged_is_named(space):
    dynamics, _ = synthetic(24)
    runs = list(dynamics.runs)
    runs[9] = replace(runs[9], metrics={"loss": runs[9].metrics["loss"] * np.float32(2.5)})
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=tuple(runs)))
    found = compare(workspace=space, estimators=[], folds=4, figure=False)
    assert "run-0009" in found.held_out.names
    assert any(note.startswith("run-0009 alone makes ") for note in found.notes)
