"""What was left out of a fit, and that a metric is 0 or 1, reaches whoever asks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.cli.simulate import show
from gptfl.core import Dynamics, MetricInfo, Run
from gptfl.estimators.exposure_gp.intervals import LEVELS
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

ACCURACY = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)


def late(run: Run) -> Run:
    """The run as if recorded from its second recorded step on."""
    return replace(run, steps=run.steps[1:], metrics={name: one[1:] for name, one in run.metrics.items()})


def test_what_a_fit_leaves_out_is_reported_by_fit_simulate_and_compare(tmp_path: Path) -> None:
    dynamics, _ = synthetic(runs=10)
    runs = tuple(late(run) if run.role != "test" and run.index > 1 else run for run in dynamics.runs)
    write_dynamics(tmp_path / "made.dynamics.h5", replace(dynamics, runs=runs))
    fitted = gptfl.fit("exposure-gp", workspace=tmp_path, settings={"features": False})
    note = next(one for one in fitted.notes if one.startswith("exposure-gp"))
    assert note.startswith("exposure-gp: 6 of 8 runs have no score at step 0 and count from their first one on")
    assert note in gptfl.simulate(workspace=tmp_path).notes
    compared = gptfl.compare(
        workspace=tmp_path, estimators=["exposure-gp"], settings={"exposure-gp": {"features": False}}, figure=False
    )
    assert note in next(row for row in compared.rows if row.estimator.startswith("exposure-gp")).notes


@pytest.mark.parametrize("estimator", ["mean-run", "class-share", "datamodels"])
def test_baselines_tell_the_steps_that_they_leave_out(tmp_path: Path, estimator: str) -> None:
    dynamics, _ = synthetic(runs=6, steps=6)

    def ended(run: Run) -> Run:
        values = run.metrics["loss"].copy()
        values[-1, 2] = np.nan
        return replace(run, metrics={"loss": values})

    write_dynamics(tmp_path / "made.dynamics.h5", replace(dynamics, runs=tuple(map(ended, dynamics.runs))))
    notes = gptfl.fit(estimator, workspace=tmp_path).notes
    assert f"{estimator}: left out step 6, where no run has a loss of every test example" in notes


def binary() -> Dynamics:
    dynamics, _ = synthetic(runs=10)
    middle = np.median([run.metrics["loss"][1:] for run in dynamics.runs])
    runs = tuple(
        replace(run, metrics={"accuracy": (run.metrics["loss"] < middle).astype(np.float64)}) for run in dynamics.runs
    )
    return replace(dynamics, metrics={"accuracy": ACCURACY}, runs=runs)


def test_of_zeros_and_ones_probabilities_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", binary())
    gptfl.fit("exposure-gp", workspace=tmp_path, settings={"features": False})
    result = gptfl.simulate(workspace=tmp_path)
    assert result.binary
    assert ((result.final > 0) & (result.final < 1)).all()
    assert set(result.intervals) == set(LEVELS)
    show(result)
    out = capsys.readouterr().out
    assert "P(accuracy = 1)" in out
    assert "% interval" not in out
    compared = gptfl.compare(workspace=tmp_path, estimators=["mean-run"], figure=False)
    assert "accuracy is 0 or 1: predictions are probabilities of 1, and MSE is their Brier score" in compared.notes


def test_a_metric_between_zero_and_one_is_no_probability() -> None:
    dynamics, _ = synthetic(runs=2)
    assert not dynamics.is_binary(dynamics.metrics["loss"])
    values = np.array([[0.0, 1.0, np.nan]])
    assert ACCURACY.is_binary([values])
    assert not ACCURACY.is_binary([values, values + 0.25])
    assert not ACCURACY.is_binary([values * np.nan])
    assert not MetricInfo("bleu", True, 0.0, 100.0).is_binary([values])
    assert json.dumps(ACCURACY.is_binary([values])) == "true"
