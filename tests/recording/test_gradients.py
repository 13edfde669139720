"""``collect --gradients``: what it adds to a recording, when it may, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import role_of
from gptfl.errors import DataError
from gptfl.recording.inspect import inspect
from gptfl.store.recordings import read_dynamics
from gptfl.training import kept_products
from tests.recording.test_collect import record, same_recording


def test_products_can_be_added_to_a_finished_recording(neox: Path, tmp_path: Path) -> None:
    plain = read_dynamics(record(neox, tmp_path / "a").path)
    added = record(neox, tmp_path / "a", gradients="reference")
    assert added.recorded_now == 0
    assert added.notes[:2] == (
        "all 3 runs are recorded already",
        "gradient products at steps 0, 1, 3, 4 of a reference run added",
    )
    found = read_dynamics(added.path)
    same_recording(found, plain)
    at_once = read_dynamics(record(neox, tmp_path / "b", gradients="reference").path)
    same_recording(at_once, plain)
    assert found.gradients is not None
    assert at_once.gradients is not None
    assert found.gradients.fingerprint == at_once.gradients.fingerprint
    assert found.gradients.raw.shape == (4, 12, 5)
    assert found.gradients.raw.dtype == np.float32
    assert found.gradients.seed not in {run.seed for run in found.runs}
    assert all(not run.derivatives for run in found.runs)

    before = added.path.read_bytes()
    again = record(neox, tmp_path / "a", gradients="reference")
    assert again.notes[0] == "all 3 runs are recorded already"
    assert added.path.read_bytes() == before
    more = record(neox, tmp_path / "a", runs=4)
    assert more.recorded_now == 1
    kept = read_dynamics(more.path).gradients
    assert kept is not None
    assert kept.fingerprint == found.gradients.fingerprint


def test_both_record_products_and_derivatives(neox: Path, tmp_path: Path) -> None:
    plain = read_dynamics(record(neox, tmp_path / "a").path)
    result = record(neox, tmp_path / "b", gradients="both", gradient_points=2, record_every=2, texts=False)
    both = read_dynamics(result.path)
    assert both.gradients is not None
    assert both.gradients.steps.tolist() == [0, 4]
    for run, without in zip(both.runs, plain.runs, strict=True):
        assert run.role == role_of(run.index)
        assert set(run.derivatives) == {"gradient", "update"}
        np.testing.assert_array_equal(run.metrics["loss"], without.metrics["loss"][[0, 2, 4]])
        moved = np.diff(run.metrics["loss"], axis=0)
        first_order = run.derivatives["update"][1:]
        assert np.abs(moved - first_order).mean() < 0.3 * np.abs(moved).mean()
    rows = dict(inspect(result.path).rows)
    assert rows["derivatives"] == "along gradient, update, in 3 of 3 runs"
    assert rows["gradients"] == "12 x 5 products at steps 0, 4 of a reference run, raw and preconditioned"


def test_a_recording_with_derivatives_goes_on_with_them_alone(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1, gradients="own")
    with pytest.raises(DataError, match="was recorded with --gradients own, not no --gradients own"):
        record(neox, tmp_path, runs=2)
    assert record(neox, tmp_path, runs=2, gradients="own").recorded_now == 1
    assert read_dynamics(record(neox, tmp_path, runs=2, gradients="both").path).gradients is not None


def test_an_interrupted_reference_run_leaves_the_recording_whole_and_goes_on(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = kept_products.block_products
    calls: list[Any] = []
    interruptions: list[None] = []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2 and not interruptions:
            interruptions.append(None)
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(kept_products, "block_products", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(neox, tmp_path / "a", gradients="reference")
    path = tmp_path / "a" / "errands-small-neox.dynamics.h5"
    assert (len(read_dynamics(path).runs), read_dynamics(path).gradients) == (3, None)
    calls.clear()
    seen: list[tuple[str, int, int, str]] = []
    again = record(neox, tmp_path / "a", gradients="reference", progress=lambda *update: seen.append(update))
    resumed = read_dynamics(again.path).gradients
    assert len(calls) == 3  # what was done at the first of four points is kept
    assert next(update for update in seen if update[0] == "gradients")[1] == 12 * 5
    assert not list((tmp_path / "a").glob("*.blocks-*"))
    monkeypatch.undo()
    fresh = read_dynamics(record(neox, tmp_path / "b", gradients="reference").path).gradients
    assert resumed is not None
    assert fresh is not None
    assert resumed.fingerprint == fresh.fingerprint
