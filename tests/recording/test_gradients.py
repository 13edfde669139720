"""``collect --gradients``: what it adds to a recording, when it may, and what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import role_of
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.recording.cost import CostEstimate
from gptfl.recording.inspect import inspect
from gptfl.store.recordings import read_dynamics
from gptfl.training import reference_run
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


@pytest.fixture(scope="module")
def with_products(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(neox, tmp_path_factory.mktemp("products"), gradients="reference").path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"gradients": "own", "runs": 4},
            "was recorded with no --gradients own, not --gradients own: record under another --name",
        ),
        ({"gradients": "both"}, "was recorded with no --gradients own"),
        (
            {"gradients": "reference", "gradient_points": 3},
            r"products at 4 points \(steps 0, 1, 3, 4\), not at 3 \(0, 2, 4\): ask for --gradient-points 4",
        ),
        ({"gradients": "reference", "lr": 2e-3}, r"was recorded with --lr 0\.001, not --lr 0\.002"),
    ],
)
def test_what_cannot_be_added_is_refused(
    neox: Path, with_products: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = Path(shutil.copy2(with_products, tmp_path))
    before = path.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(DataError, match=message):
            record(neox, tmp_path, dry_run=dry_run, **changed)
    assert path.read_bytes() == before


def test_a_recording_with_derivatives_goes_on_with_them_alone(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1, gradients="own")
    with pytest.raises(DataError, match="was recorded with --gradients own, not no --gradients own"):
        record(neox, tmp_path, runs=2)
    assert record(neox, tmp_path, runs=2, gradients="own").recorded_now == 1
    assert read_dynamics(record(neox, tmp_path, runs=2, gradients="both").path).gradients is not None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gradients": "foo"}, "gradients 'foo' is unknown: use reference, own, both"),
        ({"gradients": "reference", "gradient_points": 0}, "gradient_points is 0: give at least 1"),
        ({"gradients": "reference", "gradient_points": 6}, "gradient_points is 6: give 1 to 5: a run of 4 steps"),
        ({"gradient_points": 3}, "--gradient-points 3 counts points of the reference run.*add --gradients reference"),
        ({"gradients": "own", "gradient_points": 3}, "--gradient-points 3 counts points of the reference run"),
        (
            {"gradients": "own", "metrics": ("accuracy",)},
            "--gradients own: gradients are of the loss, and only --metric accuracy is recorded: add --metric loss",
        ),
        ({"gradients": "reference", "pool": 10**6, "test": 10**4, "subset_size": 6}, "lower --gradient-points"),
    ],
)
def test_requests_that_make_no_sense(neox: Path, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    error: type[GptflError] = UsageError
    with pytest.raises(error, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_tells_what_gradients_cost(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    record(neox, tmp_path, gradients="both", gradient_points=3, dry_run=True, announce=estimates.append)
    (plan,) = estimates
    assert plan.gradients is not None
    assert plan.gradients.points == (0, 2, 4)
    assert (plan.gradients.pool, plan.gradients.test) == (12, 5)
    assert plan.gradients.seconds > 0
    assert plan.gradients.memory_bytes > 0
    assert plan.gradients.file_bytes == 3 * 12 * 6 * 2 * 4
    each = 4 * plan.seconds_per_step + 5 * plan.seconds_per_evaluation + 4 * plan.seconds_per_derivative
    assert plan.seconds_per_derivative > 0
    assert plan.seconds == pytest.approx(3 * each)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_reference_run_leaves_the_recording_whole(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = reference_run.all_products
    calls = []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(reference_run, "all_products", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(neox, tmp_path / "a", gradients="reference")
    path = tmp_path / "a" / "errands-small-neox.dynamics.h5"
    assert (len(read_dynamics(path).runs), read_dynamics(path).gradients) == (3, None)
    monkeypatch.undo()
    resumed = read_dynamics(record(neox, tmp_path / "a", gradients="reference").path).gradients
    fresh = read_dynamics(record(neox, tmp_path / "b", gradients="reference").path).gradients
    assert resumed is not None
    assert fresh is not None
    assert resumed.fingerprint == fresh.fingerprint


def test_progress_counts_pairs(neox: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    record(neox, tmp_path, gradients="reference", progress=lambda *update: seen.append(update))
    pairs = [update for update in seen if update[0] == "gradients"]
    assert pairs[0][1] == 0
    assert pairs[-1][1:] == (4 * 12 * 5, 4 * 12 * 5, "pairs; point 4 of 4, step 4")
