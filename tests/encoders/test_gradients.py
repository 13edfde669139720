"""The encoder ``gradients``: a recording's sketches as sets, folded without bias, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Dynamics, GradientSketches, SketchPoint
from gptfl.core.blocked_rows import BlockedRows
from gptfl.encoders import Gradients, gradients
from gptfl.encoders.gradients import fold
from gptfl.errors import DataError, UsageError
from gptfl.store.recordings import read_dynamics, write_dynamics
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
    assert sorted(sets) == ["raw-0", "raw-4", "split-4"]
    assert {one.kind for one in sets.values()} == {"gradient"}
    np.testing.assert_array_equal(sets["raw-0"].train, first.train[::2])
    np.testing.assert_array_equal(sets["raw-4"].train, last.train[::2])
    assert last.split_train is not None
    assert last.split_test is not None
    np.testing.assert_array_equal(sets["split-4"].train, last.split_train[::2])
    np.testing.assert_array_equal(sets["split-4"].test, last.split_test[1:])
    for name, point in (("raw-0", first), ("raw-4", last)):
        np.testing.assert_array_equal(sets[name].test, point.test[1:])
    assert encoder.seconds == 2.5
    assert encoder.identity()["points"] == [0, 4]
    pool = made(recording, divided="pool").encode(recording.pool, recording.test[1:])
    assert sorted(pool) == ["preconditioned-4", "raw-0", "raw-4"]
    np.testing.assert_array_equal(pool["preconditioned-4"].train, last.preconditioned)
    np.testing.assert_array_equal(pool["preconditioned-4"].test, last.test[1:])
    assert sorted(made(recording, divided="none").encode(recording.pool, recording.test)) == ["raw-0", "raw-4"]
    for points in (0, "0", [0], "0+0"):
        assert list(made(recording, points=points).encode(recording.pool, recording.test)) == ["raw-0"]


def older(*, preconditioned: bool = True) -> Dynamics:
    """A recording whose sketches have no side that is divided by the root alone."""
    recording = sketched()
    assert recording.sketches is not None
    points = [
        replace(one, split_train=None, split_test=None, preconditioned=one.preconditioned if preconditioned else None)
        for one in recording.sketches.points
    ]
    return replace(recording, sketches=replace(recording.sketches, points=points))


@pytest.mark.parametrize(
    ("recording", "points", "taken", "names"),
    [
        (sketched(), "all", "both", {"raw-0", "raw-4", "split-4"}),
        (older(), "all", "pool", {"raw-0", "raw-4", "preconditioned-4"}),
        (older(preconditioned=False), "all", "none", {"raw-0", "raw-4"}),
        (sketched(), 0, "none", {"raw-0"}),
    ],
)
def test_it_divides_both_sides_where_they_were_sketched_and_says_which(
    recording: Dynamics, points: object, taken: str, names: set[str]
) -> None:
    encoder = made(recording, points=points)
    assert encoder.identity() == made(recording, points=points, divided=taken).identity()
    assert encoder.identity()["divided"] == taken
    assert set(encoder.encode(recording.pool, recording.test)) == names
    again = Gradients(points=points)
    again.use_recording(older(preconditioned=False))
    again.use_recording(recording)
    assert again.identity() == encoder.identity()


@pytest.mark.parametrize(
    ("recording", "settings", "message"),
    [
        (
            older(),
            {"divided": "both"},
            "divided is 'both', .* no such sketches at step 0, 4: give one of auto, pool, none",
        ),
        (
            older(preconditioned=False),
            {"divided": "pool"},
            "divided is 'pool', .* at step 0, 4: give one of auto, none",
        ),
        (sketched(), {"divided": "both", "points": 0}, "divided is 'both', .* at step 0: give one of auto, none"),
    ],
)
def test_sides_that_were_not_sketched_are_refused(recording: Dynamics, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        made(recording, **settings)
    assert "\n" not in str(caught.value)


def test_folding_keeps_products_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 50)).astype(np.float32)
    exact, found = vectors @ vectors.T, []
    for seed in range(400):
        monkeypatch.setattr(gradients, "FOLDING", seed)
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
        ({"divided": "test"}, "divided is 'test': give auto, both, pool or none"),
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


@pytest.mark.parametrize("settings", [{}, {"dimensions": 7}, {"divided": "pool", "points": 4}])
def test_sketches_in_a_file_are_read_some_rows_at_a_time(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_dynamics(tmp_path / "a.h5", sketched())
    recording = read_dynamics(tmp_path / "a.h5")
    assert recording.sketches is not None
    in_memory = replace(recording, sketches=replace(recording.sketches, points=tuple(recording.sketches.points)))
    here, there = made(recording, **settings), made(in_memory, **settings)
    assert here.identity() == there.identity()
    for pool in (recording.pool, recording.pool[3:8:2]):
        found, expected = here.encode(pool, recording.test[1:]), there.encode(pool, recording.test[1:])
        assert list(found) == list(expected)
        for name, one in found.items():
            assert isinstance(one.train, BlockedRows)
            assert one.train.shape == expected[name].train.shape
            np.testing.assert_array_equal(np.asarray(one.train), expected[name].train)
            np.testing.assert_array_equal(one.train[[1, 0]], expected[name].train[[1, 0]])
            np.testing.assert_array_equal(one.test, expected[name].test)
