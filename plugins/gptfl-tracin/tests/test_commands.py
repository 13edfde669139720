"""The three estimators from the command line, on a recording of which they are exactly right."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl import testing
from gptfl.core import Dynamics, MetricInfo
from gptfl.errors import DataError
from gptfl.store.recordings import write_dynamics


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; its exit code, output and errors."""
    from gptfl.cli.main import run

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["gptfl", *arguments])
        code: Any = 0
        try:
            run()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return int(code), printed.out, printed.err

    return call


def exact(**changes: Any) -> Dynamics:
    """A recording of losses, and of an accuracy that follows them."""
    dynamics = testing.make_dynamics(runs=16, gradients=True)
    runs = [
        dataclasses.replace(run, metrics={**run.metrics, "accuracy": (run.metrics["loss"] < 2.5) * 1.0})
        for run in dynamics.runs
    ]
    metrics = {**dynamics.metrics, "accuracy": MetricInfo("accuracy", True, 0.0, 1.0)}
    return dataclasses.replace(dynamics, runs=tuple(runs), metrics=metrics, **changes)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    write_dynamics(tmp_path / "exact.dynamics.h5", exact())
    return tmp_path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    dynamics = exact(gradients=None)
    runs = tuple(dataclasses.replace(run, derivatives={}) for run in dynamics.runs)
    write_dynamics(tmp_path / "bare.dynamics.h5", dataclasses.replace(dynamics, runs=runs))
    return tmp_path


NAMES = ("tracin-cp", "grad-dot", "tracin-own-run")


def test_a_comparison_tells_raw_from_calibrated_and_marks_the_oracle(command: Any, space: Path) -> None:
    specs = ("tracin-cp", "tracin-cp:calibrate=true,preconditioned=true", "tracin-own-run")
    chosen = [word for spec in specs for word in ("--estimator", spec)]
    code, out, err = command("compare", "-w", str(space), "--folds", "4", *chosen, "--json")
    assert code == 0, err
    rows = {row["estimator"]: row for row in json.loads(out)["estimators"]}
    assert {"tracin-cp", "tracin-cp (calibrate, preconditioned)", "tracin-own-run"} <= rows.keys()
    assert rows["tracin-cp"]["scores"]["mse"]["value"] < 1e-12
    assert rows["tracin-cp (calibrate, preconditioned)"]["scores"]["mse"]["value"] > 1e-6
    assert [row["name"] for row in rows.values() if row["oracle"]] == ["tracin-own-run"]
    assert "† Oracle" in err
    assert "multiplied by" in err


def test_calibrate_reaches_all_three(command: Any, space: Path) -> None:
    named = [word for name in NAMES for word in ("--estimator", name)]
    code, out, _ = command("compare", "-w", str(space), "--metric", "loss", "--calibrate", *named, "--json")
    assert code == 0
    labels = [row["estimator"] for row in json.loads(out)["estimators"]]
    assert labels[3:] == [f"{name} (calibrate)" for name in NAMES]


def test_every_kth_score_keeps_the_derivatives_between(space: Path) -> None:
    comparison = gptfl.compare(workspace=space, estimators=NAMES, every=5, folds=4, metric="loss", figure=False)
    rows = {row.estimator: row for row in comparison.rows}
    for name in ("tracin-cp", "tracin-own-run"):
        assert rows[name].scores["mse"].value < 1e-12


def test_a_fit_is_simulated_from_its_file(space: Path) -> None:
    dynamics = exact()
    gptfl.fit("tracin-cp", workspace=space, metric="loss")
    fitted = gptfl.fit("tracin-own-run", workspace=space, metric="loss")
    recorded = np.stack([run.metrics["loss"] for run in dynamics.with_role("test")])
    np.testing.assert_allclose(gptfl.simulate(fitted.path).values, recorded, atol=1e-6)
    ids = [example.id for example in dynamics.pool[:4]]
    simulated = gptfl.simulate(workspace=space, estimator="tracin-cp", subset=ids)
    assert simulated.values.shape == (1, 13, 5)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_recorded_is_one_line_with_the_option_that_records_it(command: Any, bare: Path, name: str) -> None:
    what, option = ("derivatives", "own") if name == "tracin-own-run" else ("gradients", "reference")
    expected = (
        f"error: {name} needs {what}, which bare.dynamics.h5 doesn't hold: "
        f"record them with gptfl collect --gradients {option}\n"
    )
    for stage in ("fit", "compare"):
        assert command(stage, "--estimator", name, "-w", str(bare), "--metric", "loss") == (3, "", expected)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_refused(command: Any, space: Path, name: str) -> None:
    expected = f"error: {name} predicts loss only, not accuracy: give --metric loss, or use another estimator\n"
    for stage in ("fit", "compare"):
        code, out, err = command(stage, "--estimator", name, "-w", str(space), "--metric", "accuracy")
        assert (code, out, err) == (3, "", expected)


def test_own_run_about_a_subset_is_refused(command: Any, space: Path) -> None:
    gptfl.fit("tracin-own-run", workspace=space, metric="loss")
    (space / "ids.txt").write_text("pool-0\npool-1\n")
    code, out, err = command("simulate", "-w", str(space), "--subset", str(space / "ids.txt"))
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert err.startswith("error: tracin-own-run explains recorded runs only")
    assert "use tracin-cp" in err


def test_too_many_checkpoints_are_a_row_with_the_reason(space: Path) -> None:
    comparison = gptfl.compare(workspace=space, estimators=["tracin-cp:checkpoints=50"], metric="loss", figure=False)
    assert "checkpoints is 50, and the recording has 3" in str(comparison.rows[-1].error)
    with pytest.raises(DataError, match="give at most 3"):
        gptfl.fit("tracin-cp", workspace=space, metric="loss", settings={"checkpoints": 50})
