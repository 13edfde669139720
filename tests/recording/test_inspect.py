from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Dynamics, Example, MetricInfo
from gptfl.errors import DataError
from gptfl.recording.inspect import ExampleRow, inspect
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import SimulatorFile, write_simulator

SAMPLES = Path(__file__).parents[1] / "store" / "samples" / "v1"


def rows_of(path: Path) -> dict[str, str]:
    return dict(inspect(path).rows)


def test_a_recording() -> None:
    rows = rows_of(SAMPLES / "dynamics.h5")
    expected = {
        "kind": "recording (gptfl-dynamics, format version 1)",
        "pool": "3 examples",
        "test": "2 examples",
        "texts": "kept",
        "runs": "3 (1 fit, 1 validation, 1 test)",
        "steps": "3",
        "batch size": "2",
        "different examples in a run": "3",
        "recorded": "at 3 steps: 0, 2, 3",
        # 2.5 and 0.5 (the other example's last value was not recorded), plus the mean index 3.
        "metric: loss": "mean 5.5 → 3.5 (lower is better)",
        "metric: accuracy": "mean 0.5 → 0.5 (higher is better)",
        "setting: task": "sample",
    }
    assert {label: rows[label] for label in expected} == expected


def test_examples_are_listed_with_roles_and_labels() -> None:
    listed = inspect(SAMPLES / "dynamics.h5", examples=True).examples
    assert listed is not None
    assert listed[1] == ExampleRow("p1", "pool", "nein", "Größe 1? ja")
    assert listed[3:] == [ExampleRow("t0", "test", "", "Line break out"), ExampleRow("t1", "test", "", "")]
    assert inspect(SAMPLES / "dynamics.h5").examples is None
    with pytest.raises(DataError, match="is a simulator and holds no examples"):
        inspect(SAMPLES / "simulator.h5", examples=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "features",
            {
                "encoder": "tfidf-svd",
                "set: text": "3 pool + 2 test examples x 2, embedding, float32",
                "set: step-0/raw": "3 pool + 2 test examples x 2, gradient, float32",
            },
        ),
        (
            "simulator",
            {
                "estimator": "mean-run",
                "metric": "accuracy",
                "state": "7 numbers in count, layer/weight 2x2, mask 2",
                "info: epoch": "3",
                "setting: order": "1",
            },
        ),
        (
            "predictions",
            {
                "trajectories": "2 curricula x 3 steps x 2 test examples",
                "intervals": "at 0.9",
                "final accuracy: a": "mean 0.375",
                "final accuracy: ü": "mean 0.875",
                "final of the average recorded run": "mean 0.625",
            },
        ),
    ],
)
def test_other_kinds(name: str, expected: dict[str, str]) -> None:
    rows = rows_of(SAMPLES / f"{name}.h5")
    assert {label: rows[label] for label in expected} == expected


def test_a_recording_without_runs(tmp_path: Path) -> None:
    example = Example("a", "x", "y").without_texts()
    write_dynamics(tmp_path / "a.h5", Dynamics((example,), (example,), {"loss": MetricInfo("loss", False)}, ()))
    rows = rows_of(tmp_path / "a.h5")
    assert rows["runs"] == "0 (0 fit, 0 validation, 0 test)"
    assert rows["texts"] == "not kept"
    assert rows["metric: loss"] == "nothing recorded yet (lower is better)"


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    example = Example("a\x1b[2J", "x\x9b", "\ny")
    write_dynamics(tmp_path / "a.h5", Dynamics((example,), (example,), {}, (), {"a\x1b": "b\x07"}))
    found = inspect(tmp_path / "a.h5", examples=True)
    assert found.examples is not None
    # The id is what asks for the example; the command writes it so that a terminal stays as it is.
    assert found.examples[0] == ExampleRow("a\x1b[2J", "pool", "", "x y")
    assert dict(found.rows)["setting: a"] == "b"


def test_an_empty_state(tmp_path: Path) -> None:
    simulator = SimulatorFile(
        "persistence", {}, {"none": np.zeros((0, 3))}, MetricInfo("loss", False), "", "", None, ""
    )
    write_simulator(tmp_path / "a.h5", simulator)
    assert rows_of(tmp_path / "a.h5")["state"] == "0 numbers in none 0x3"
