"""A run while it is recorded: steps, measurements, and the state that it goes on from."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError, ResourceError
from gptfl.recorder.file import Identity
from gptfl.recorder.run import RunSoFar

POOL = tuple(Example(name, name, " t") for name in ("a", "b", "größe,\n"))
TEST = tuple(Example(f"t{i}", "p", " t") for i in range(2))


def begun(every: int = 2) -> RunSoFar:
    identity = Identity(POOL, TEST, {"loss": MetricInfo("loss", False)}, every, "x", "m", "f")
    return RunSoFar(identity, 5, 4, None, None, ("loss",))


def measured(value: float) -> dict[str, Any]:
    return {"loss": np.array([value, np.nan])}


@pytest.fixture
def run() -> RunSoFar:
    """Three steps, measured before the first and after the second."""
    made = begun()
    made.keep(measured(3.0))
    made.add(np.array([0, 2]), 0.3, [1.5, 0.1])
    made.add(np.array([1]), 0.2, None)
    made.keep(measured(2.0))
    made.add(np.array([0, 1, 2]), 0.1, [1.0, 2.0, 3.0])
    return made


def test_steps_and_measurements_are_kept_as_they_came(run: RunSoFar) -> None:
    kept = run.run()
    assert kept.curriculum.batches.tolist() == [[0, 2, -1], [1, -1, -1], [0, 1, 2]]
    assert kept.curriculum.learning_rates.tolist() == [0.3, 0.2, 0.1]
    assert kept.steps.tolist() == [0, 2]
    np.testing.assert_array_equal(kept.metrics["loss"], np.array([[3, np.nan], [2, np.nan]], np.float32))
    assert (run.step, kept.seed, kept.role) == (3, 5, "fit")


def test_a_step_is_measured_once(run: RunSoFar) -> None:
    run.keep(measured(1.0))
    run.keep(measured(9.0))
    assert run.measured == [0, 2, 3]
    assert [float(one[0]) for one in run.values["loss"]] == [3.0, 2.0, 1.0]


def test_what_was_not_measured_any_more_is_forgotten(run: RunSoFar) -> None:
    run.cut()
    assert (run.step, run.rates, set(run.losses)) == (2, [0.3, 0.2], {1})
    assert begun().batches().shape == (0, 1)


def test_losses_are_one_each(run: RunSoFar) -> None:
    with pytest.raises(DataError, match="step 4 has 2 ids and 1 losses: give one each"):
        run.add(np.array([0, 1]), 0.1, [1.0])
    assert run.step == 3


def test_a_run_goes_on_from_its_state_through_json(run: RunSoFar) -> None:
    other = begun()
    other.load(json.loads(json.dumps(run.state())))
    for one in (run, other):
        one.add(np.array([2]), 0.05, None)
        one.keep(measured(1.0))
    first, second = run.run(), other.run()
    np.testing.assert_array_equal(first.curriculum.batches, second.curriculum.batches)
    np.testing.assert_array_equal(first.metrics["loss"], second.metrics["loss"])
    assert (other.seed, other.losses, other.measured) == (5, run.losses, [0, 2, 4])
    assert other.before > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "is none of a Recorder's"),
        ({"recording": "x"}, "is of a run with other examples, metrics or another every"),
        ({"places": [[0, 2], [3], [0]]}, "is damaged: begin the run anew"),
        ({"rates": [0.1]}, "is damaged"),
        ({"measured": [2, 0]}, "is damaged"),
        ({"losses": {"1": [1.0]}}, "is damaged"),
        ({"values": {"loss": [[1.0, 2.0]]}}, "is damaged"),
        ({"seconds": "long"}, "is damaged"),
    ],
)
def test_a_state_that_is_none_is_refused(run: RunSoFar, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"the state to resume from {message}"):
        begun().load({**run.state(), **change})


def test_the_state_of_another_interval_is_refused(run: RunSoFar) -> None:
    with pytest.raises(DataError, match="another every"):
        begun(every=3).load(run.state())


def test_own_losses_become_a_table(run: RunSoFar, tmp_path: Path) -> None:
    run.write_losses(tmp_path / "a.csv", [one.id for one in POOL])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[:3] == [["step", "id", "loss"], ["1", "a", "1.5"], ["1", "größe,\n", "0.1"]]
    assert [row[0] for row in table[3:]] == ["3"] * 3
    with pytest.raises(ResourceError, match="can't be written"):
        run.write_losses(tmp_path / "a.csv" / "b.csv", ["a", "b", "c"])
