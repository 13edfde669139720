"""The encoder ``gradients``: a recording's sketches as sets, folded without bias, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gptfl.builtin.encoders import Gradients
from gptfl.builtin.encoders import gradients as module
from gptfl.builtin.encoders.gradients import fold
from gptfl.errors import DataError, UsageError
from gptfl.records import Dynamics, GradientSketches, SketchPoint
from gptfl.testing import check_encoder
from gptfl.testing.synthetic import make_dynamics, make_examples

POOL, TEST, WIDE = 10, 5, 24


def sketched(dimensions: int = WIDE) -> Dynamics:
    """A recording with sketches at steps 0 (plain alone) and 4."""
    random = np.random.default_rng(0)

    def draw(rows: int) -> np.ndarray:
        return random.normal(size=(rows, dimensions)).astype(np.float32)

    points = (
        SketchPoint(0, draw(POOL), draw(TEST), None),
        SketchPoint(4, *(draw(rows) for rows in (POOL, TEST, POOL, POOL, TEST))),
    )
    found = GradientSketches(7, np.array([0, 4]), np.full(12, 0.1), dimensions, None, points, 2.5)
    return replace(make_dynamics(2, POOL, TEST), sketches=found)


def made(recording: Dynamics, **settings: Any) -> Gradients:
    encoder = Gradients(**settings)
    encoder.use_recording(recording)
    return encoder


@pytest.mark.parametrize("settings", [{}, {"points": "4"}, {"dimensions": 7}, {"points": [0, 4], "dimensions": 24}])
def test_it_keeps_every_promise_of_an_encoder(settings: dict[str, Any]) -> None:
    check_encoder(Gradients, recording=sketched(), **settings)


def test_its_sets_are_the_points_of_the_reference_run() -> None:
    recording = sketched()
    encoder = made(recording)
    sets = encoder.encode(recording.pool[::2], recording.test[1:])
    assert recording.sketches is not None
    first, last = recording.sketches.points
    assert sorted(sets) == ["preconditioned-4", "raw-0", "raw-4"]
    assert {one.kind for one in sets.values()} == {"gradient"}
    np.testing.assert_array_equal(sets["raw-0"].train, first.train[::2])
    np.testing.assert_array_equal(sets["raw-4"].train, last.train[::2])
    assert last.preconditioned is not None
    np.testing.assert_array_equal(sets["preconditioned-4"].train, last.preconditioned[::2])
    for name, point in (("raw-0", first), ("raw-4", last), ("preconditioned-4", last)):
        np.testing.assert_array_equal(sets[name].test, point.test[1:])
    assert encoder.seconds == 2.5
    assert encoder.identity()["points"] == [0, 4]
    split = made(recording, divided="both").encode(recording.pool, recording.test[1:])
    assert sorted(split) == ["raw-0", "raw-4", "split-4"]
    np.testing.assert_array_equal(split["split-4"].train, last.split_train)
    assert last.split_test is not None
    np.testing.assert_array_equal(split["split-4"].test, last.split_test[1:])
    assert sorted(made(recording, divided="none").encode(recording.pool, recording.test)) == ["raw-0", "raw-4"]
    for points in (0, "0", [0], "0+0"):
        assert list(made(recording, points=points).encode(recording.pool, recording.test)) == ["raw-0"]


def test_folding_keeps_products_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 50)).astype(np.float32)
    exact, found = vectors @ vectors.T, []
    for seed in range(400):
        monkeypatch.setattr(module, "FOLDING", seed)
        small = fold(vectors, 8)
        assert small.shape == (6, 8)
        found.append(small @ small.T)
    error = np.mean(found, axis=0) - exact
    assert np.abs(error / (np.std(found, axis=0) / 20)).max() < 4
    np.testing.assert_array_equal(fold(vectors, 50), vectors)


def test_a_recording_without_sketches_is_refused() -> None:
    with pytest.raises(DataError, match=r"no gradient sketches: add them by .*gptfl collect ... --sketches"):
        Gradients().use_recording(make_dynamics(2))
    with pytest.raises(DataError, match="has no recording to read"):
        Gradients().identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": "3"}, "there are no sketches at step 3: choose of 0, 4"),
        ({"dimensions": 25}, "dimensions is 25, and the sketches have 24: give at most 24"),
    ],
)
def test_what_the_sketches_lack_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(sketched(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": "first"}, "encoder gradients: points is 'first': give a whole number of at least 0, or several"),
        ({"points": []}, "points is empty"),
        ({"points": -1}, "points is -1"),
        ({"divided": "test"}, "divided is 'test': give pool, both or none"),
        ({"dimensions": 0}, "dimensions is 0: give a whole number of at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Gradients(**settings)


def test_a_new_example_has_no_gradient() -> None:
    recording = sketched()
    with pytest.raises(DataError, match="example 'new-0' is not of the recording: gradients of new examples"):
        made(recording).encode(recording.pool, make_examples(1, "new"))
