"""At which steps sketches are wanted, and how large."""

from typing import Any

import numpy as np
import pytest

from gptfl.errors import GptflError
from gptfl.recorder.sketch_spec import SketchSpec


@pytest.mark.parametrize("at", ["every", 0, -1, 1.5, [], [1, 1], [-1], [True], "3"])
def test_steps_that_are_none_are_refused(at: Any) -> None:
    with pytest.raises(GptflError, match="sketches_at="):
        SketchSpec.of({"sketches_at": at})


@pytest.mark.parametrize(
    ("at", "points"), [("auto", (0, 3, 7, 10)), (4, (0, 4, 8)), ([9, 2], (2, 9)), (np.int64(5), (0, 5, 10))]
)
def test_the_points_of_a_run(at: Any, points: tuple[int, ...]) -> None:
    spec = SketchSpec.of({"sketches_at": at})
    assert spec is not None
    assert spec.points(10, 5, 5) == points


def test_points_of_a_run_of_unknown_length() -> None:
    for at in ("auto", 3):
        spec = SketchSpec.of({"sketches_at": at})
        assert spec is not None
        with pytest.raises(GptflError, match="number of steps isn't known"):
            spec.points(None, 5, 5)


def test_sketches_that_make_too_large_a_file_are_refused() -> None:
    spec = SketchSpec.of({"sketches_at": 1})
    assert spec is not None
    with pytest.raises(GptflError, match="sketches at 100001 points"):
        spec.points(100_000, 1000, 100)


def test_no_sketches_are_asked_for_by_nothing() -> None:
    assert SketchSpec.of({}) is None
    assert SketchSpec.of({"sketches_at": None, "sketch_modules": None}) is None
    for name, value in (("sketch_dimensions", 8), ("sketch_modules", "*mlp*")):
        with pytest.raises(GptflError, match=f"{name} without sketches_at says nothing"):
            SketchSpec.of({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sketch_dimensions", 0), ("sketch_dimensions", True), ("sketch_modules", ""), ("sketch_modules", 3)],
)
def test_a_wrong_size_or_pattern_is_named(name: str, value: Any) -> None:
    with pytest.raises(GptflError, match=f"{name}="):
        SketchSpec.of({"sketches_at": "auto", name: value})


def test_points_lie_within_the_run() -> None:
    spec = SketchSpec.of({"sketches_at": [0, 8]})
    assert spec is not None
    assert spec.points(None, 5, 5) == spec.points(8, 5, 5) == (0, 8)
    with pytest.raises(GptflError, match="sketches_at names step 8, and the run has 7: name steps of the run"):
        spec.points(7, 5, 5)
    short = SketchSpec.of({"sketches_at": "auto"})
    assert short is not None
    assert short.points(1, 5, 5) == (0, 1)
