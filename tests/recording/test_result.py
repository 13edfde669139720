"""What collecting comes to: the file, what of it is new, and how far its runs moved."""

from pathlib import Path

import numpy as np

from gptfl.recording.result import CollectResult
from gptfl.store.recordings import read_dynamics
from tests.recording.test_collect import record


def test_a_result_says_what_its_file_holds(neox: Path, tmp_path: Path) -> None:
    first = record(neox, tmp_path, runs=1).collected
    assert isinstance(first, CollectResult)
    assert (first.runs, first.recorded_now, first.sketched) == (1, 1, False)
    again = record(neox, tmp_path, runs=2, sketches=True, sketch_points=1, sketch_dimensions=8).collected
    assert isinstance(again, CollectResult)
    assert (again.path, again.runs, again.recorded_now, again.sketched) == (first.path, 2, 1, True)
    dynamics = read_dynamics(again.path)
    values = np.stack([run.metrics["loss"] for run in dynamics.runs])
    np.testing.assert_allclose(again.moved["loss"], [values[:, 0].mean(), values[:, -1].mean()], rtol=1e-6)
