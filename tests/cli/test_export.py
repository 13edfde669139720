"""``gptfl export`` from the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gptfl.store.recordings import read_dynamics
from tests.cli.conftest import Outcome
from tests.released import released

Command = Callable[..., Outcome]


def test_export_and_import_again(gptfl: Command, tmp_path: Path) -> None:
    folder, space = released(tmp_path / "rte"), ("--workspace", str(tmp_path / "ws"))
    assert gptfl("import", "gptdynamics", str(folder), "--lr", "2e-5", "--schedule", "constant", *space).code == 0
    outcome = gptfl("export", "--to", str(tmp_path / "out"), *space)
    assert outcome.code == 0, outcome
    assert "8 runs as gptdynamics" in outcome.out
    assert gptfl("import", "gptdynamics", str(tmp_path / "out"), "--name", "back", *space).code == 0
    old, new = (read_dynamics(tmp_path / "ws" / f"{name}.dynamics.h5") for name in ("rte", "back"))
    assert old.examples == new.examples
    assert {**old.settings, "source": ""} == {**new.settings, "source": ""}
    for one, other in zip(old.runs, new.runs, strict=True):
        np.testing.assert_array_equal(one.metrics["loss"], other.metrics["loss"])
        np.testing.assert_array_equal(one.curriculum.batches, other.curriculum.batches)
    outcome = gptfl("export", "--to", str(tmp_path / "scores.csv"), *space)
    assert outcome.code == 0
    assert "scores.csv: 8 runs as csv\n" in outcome.out
