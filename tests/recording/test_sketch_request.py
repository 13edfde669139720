"""What is asked of sketches: whether it makes sense, and whether a recording has others."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.recording.sketch_request import SketchRequest, read_sketch_request
from tests.recording.test_collect import record

TWO_POINTS: dict[str, Any] = {"sketches": True, "sketch_points": 2, "sketch_dimensions": 16, "runs": 1}


@pytest.fixture(scope="module")
def two_points(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(neox, tmp_path_factory.mktemp("two-points"), **TWO_POINTS).path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"sketch_points": 3},
            "has gradient sketches of all trained weights at steps 0, 4 in 16 dimensions, not of all trained weights at "
            "steps 0, 2, 4 in 16 dimensions: ask for --sketch-points 2 --sketch-dimensions 16, or record under another",
        ),
        ({"sketch_dimensions": 17}, "not of all trained weights at steps 0, 4 in 17 dimensions"),
        ({"sketch_modules": "*mlp*"}, "not of weights like '.mlp.' at steps 0, 4"),
        ({"lr": 2e-3}, r"was recorded with --lr 0\.001, not --lr 0\.002"),
    ],
)
def test_other_sketches_are_refused(
    neox: Path, two_points: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = Path(shutil.copy2(two_points, tmp_path))
    before = path.read_bytes()
    with pytest.raises(DataError, match=message):
        record(neox, tmp_path, **{**TWO_POINTS, **changed})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sketches": True, "sketch_points": 0}, "sketch_points is 0: give at least 1"),
        ({"sketches": True, "sketch_points": 6}, "sketch_points is 6: give 1 to 5: a run of 4 steps"),
        ({"sketches": True, "sketch_dimensions": 0}, "sketch_dimensions is 0: give at least 1"),
        ({"sketches": True, "sketch_modules": ""}, "sketch_modules is empty"),
        ({"sketch_points": 2}, "--sketch-points 2 without --sketches says nothing: add --sketches"),
        ({"sketch_dimensions": 2}, "--sketch-dimensions 2 without --sketches"),
        ({"sketch_modules": "*mlp*"}, r"--sketch-modules \*mlp\* without --sketches"),
        ({"sketches": True, "sketch_dimensions": 10**8}, "take 34.3 GiB, .*: lower --sketch-points or --sketch-dim"),
        ({"sketches": True, "processes": 2}, "--processes 2 with --sketches"),
    ],
)
def test_requests_that_make_no_sense(neox: Path, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def asked(option: str | None = "--sketches", **given: Any) -> SketchRequest | None:
    known: dict[str, Any] = {"points": None, "dimensions": None, "modules": None, "steps": 4, "pool": 12, "test": 5}
    return read_sketch_request(option, **{**known, **given})


def test_what_is_left_open_is_the_usual() -> None:
    assert asked(None) is None
    assert asked() == SketchRequest(4, 8192, None)
    assert asked(steps=1) == SketchRequest(2, 8192, None)
    assert asked("--few-runs", points=5, dimensions=3, modules="*mlp*") == SketchRequest(5, 3, "*mlp*", "--few-runs")


def test_a_reference_run_is_kept_with_sketches_alone() -> None:
    assert asked(keep=True) == SketchRequest(4, 8192, None, keep=True)
    with pytest.raises(UsageError, match="--keep-reference is given without --sketches: add --sketches"):
        asked(None, keep=True)


def test_a_file_holds_three_sketches_of_a_pool_example_and_two_of_a_test_example() -> None:
    sketches = 4 * (3 * 12 + 2 * 5) * (100 * 2 + 4)
    products = 4 * 12 * (5 + 1) * 2 * 4
    assert SketchRequest(4, 100, None).bytes(12, 5) == sketches + products
    assert SketchRequest(4, 100, None).bytes(0, 0) == 0


def test_what_gptfl_does_not_read_is_refused_by_its_option() -> None:
    with pytest.raises(UsageError, match=r"^--few-runs: gradient sketches at 4 points in 8192 dimensions of --pool 1"):
        asked("--few-runs", pool=10**6)
