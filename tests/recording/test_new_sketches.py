"""Sketches of new rows are those that the recording's own sketching would have given them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import GradientSketches, silent
from gptfl.errors import DataError
from gptfl.recording.command import command_of
from gptfl.recording.inspect import inspect
from gptfl.recording.new_sketches import kept_about, sketch_new
from gptfl.recording.recording import OpenedRecording, open_recording
from gptfl.store.workspace import REFERENCE, reference_folder
from tests.recording.test_collect import record

ARRAYS = {"train": slice(3, 9), "preconditioned": slice(3, 9), "split_train": slice(3, 9)} | {
    "test": slice(1, None),
    "split_test": slice(1, None),
}
KEPT: dict[str, Any] = {"sketches": True, "sketch_dimensions": 24, "keep_reference": True, "runs": 1}


def kept(neox: Path, folder: Path, **options: Any) -> OpenedRecording:
    record(neox, folder, **{**KEPT, **options})
    return open_recording(None, folder)


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    kept(neox, folder)
    return folder


@pytest.fixture
def recording(made: Path, tmp_path: Path) -> OpenedRecording:
    """A copy of one recording that tests may damage."""
    return open_recording(None, shutil.copytree(made, tmp_path / "copy"))


def sketches_of(recording: OpenedRecording) -> GradientSketches:
    assert recording.dynamics.sketches is not None
    return recording.dynamics.sketches


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train_layers": 1, "clip_norm": 0.05, "loss_mean": "tokens", "sketch_modules": "*mlp*"},
        {"lora": "r=2", "metrics": ("loss", "accuracy"), "sketch_points": 2},
        {"optimiser": "sgd", "momentum": 0.5, "sketch_points": 2},
    ],
    ids=["plain", "layers", "lora", "sgd"],
)
def test_they_are_those_of_the_recorded_rows(neox: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Recorded rows asked about as new ones have what was recorded; what one row beside another rounds is small."""
    recording = kept(neox, tmp_path, **options)
    dynamics, recorded = recording.dynamics, sketches_of(recording)
    told: list[tuple[int, int]] = []
    found = sketch_new(
        recording,
        dynamics.pool[3:9],
        dynamics.test[1:],
        None,
        lambda what, done, total, note="": told.append((done, total)) if what == "sketches" else None,
    )
    assert told[-1] == (10 * len(recorded.steps),) * 2
    for place in range(len(recorded.steps)):
        for name, rows in ARRAYS.items():
            got, expected = getattr(found.points[place], name), getattr(recorded.points[place], name)
            if expected is None:
                assert got is None
                continue
            off = np.linalg.norm(got - expected[rows], axis=1)
            assert (off <= 1e-2 * np.linalg.norm(expected[rows], axis=1)).all(), name
    for name in ("seed", "dimensions", "modules", "own_counted"):
        assert getattr(found, name) == getattr(recorded, name)
    assert found.products is None


def test_either_side_may_be_empty(recording: OpenedRecording) -> None:
    dynamics, recorded = recording.dynamics, sketches_of(recording)
    some = sketch_new(recording, dynamics.pool[:2], (), None, silent).points[-1]
    assert (some.train.shape, some.test.shape) == ((2, 24), (0, 24))
    others = sketch_new(recording, (), dynamics.test[:3], None, silent).points[-1]
    assert others.split_train is not None
    assert (others.split_train.shape, others.test.shape) == ((0, 24), (3, 24))
    np.testing.assert_allclose(others.test, recorded.points[-1].test[:3], rtol=1e-2, atol=1e-3)


def test_it_can_be_kept_later_and_says_what_it_takes(neox: Path, tmp_path: Path) -> None:
    kept(neox, tmp_path, keep_reference=False)
    folder = reference_folder(tmp_path / "errands-small-neox.dynamics.h5")
    assert not folder.exists()
    guess = record(neox, tmp_path, **KEPT, dry_run=True).estimate
    added = record(neox, tmp_path, **KEPT)
    assert f"the reference run is kept in {folder}" in added.notes
    taken = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert guess is not None
    assert 0.9 * taken < guess.reference_bytes <= taken
    before = (folder / REFERENCE).stat().st_mtime_ns
    again = record(neox, tmp_path, **KEPT)
    assert "kept" not in " ".join(again.notes[1:])
    assert (folder / REFERENCE).stat().st_mtime_ns == before
    recording = open_recording(None, tmp_path)
    assert "kept reference" in dict(inspect(recording.path).rows)
    assert "--keep-reference" in command_of(recording.path, recording.registry).words
    assert kept_about(recording).steps == tuple(sketches_of(recording).steps.tolist())


def test_without_one_it_says_which_command_keeps_one(recording: OpenedRecording) -> None:
    shutil.rmtree(reference_folder(recording.path))
    with pytest.raises(
        DataError, match=r"keeps no reference run, which .*: keep one by the command .*--keep-reference"
    ):
        sketch_new(recording, recording.dynamics.pool[:1], (), None, silent)


def test_a_recording_without_sketches_has_no_gradients_of_new_rows(recording: OpenedRecording) -> None:
    bare = replace(recording, dynamics=replace(recording.dynamics, sketches=None))
    with pytest.raises(
        DataError, match=r"has no gradient sketches, so that new rows .*: featurize and fit with an encoder"
    ):
        kept_about(bare)
    own = recording.dynamics.settings.having(layout="own-run")
    elsewhere = replace(recording, dynamics=replace(recording.dynamics, settings=own))
    if elsewhere.dynamics.settings.elsewhere:
        with pytest.raises(DataError, match="was not trained by gptfl"):
            kept_about(elsewhere)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("examples", "0123456789abcdef"),
        ("seed", 3),
        ("own_counted", False),
        ("recording", "0123456789abcdef"),
        ("weights", "0123"),
        ("steps", [0, 1, 2, 4]),
    ],
)
def test_another_run_is_refused(recording: OpenedRecording, change: str, value: object) -> None:
    path = reference_folder(recording.path) / REFERENCE
    path.write_text(json.dumps({**json.loads(path.read_text()), change: value}))
    with pytest.raises(DataError, match=r"keeps another reference run than the sketches of .* are of: make it again"):
        kept_about(recording)


def test_what_doesnt_say_by_which_recipe_is_taken(recording: OpenedRecording) -> None:
    path = reference_folder(recording.path) / REFERENCE
    known = json.loads(path.read_text())
    del known["recording"]
    path.write_text(json.dumps({**known, "version": 1}))
    assert kept_about(recording).recording is None


def test_what_was_left_by_a_recording_of_another_recipe_is_refused(recording: OpenedRecording) -> None:
    """As where a recording was deleted and made again, and the folder beside it stayed."""
    slower = recording.dynamics.settings.having(learning_rate=1.01 * (recording.dynamics.settings.learning_rate or 0.0))
    again = replace(recording, dynamics=replace(recording.dynamics, settings=slower))
    with pytest.raises(DataError, match=r"keeps another reference run than the sketches of .* are of: make it again"):
        kept_about(again)


@pytest.mark.parametrize("name", ["examples", "recording"])
def test_collect_refuses_to_mix_two_runs(neox: Path, recording: OpenedRecording, name: str) -> None:
    path = reference_folder(recording.path) / REFERENCE
    path.write_text(json.dumps({**json.loads(path.read_text()), name: "0123456789abcdef"}))
    with pytest.raises(DataError, match="keeps another reference run: make it again"):
        record(neox, recording.path.parent, **KEPT)


def test_weights_that_are_others_are_told_by_a_recorded_row(recording: OpenedRecording) -> None:
    folder = reference_folder(recording.path)
    shutil.copy(folder / "step-000001.safetensors", folder / "step-000004.safetensors")
    from safetensors.torch import load_file, save_file

    found = load_file(folder / "step-000004.safetensors")
    save_file(
        {k: v.flip(0) if k.startswith("weight/") else v for k, v in found.items()}, folder / "step-000004.safetensors"
    )
    with pytest.raises(DataError, match="comes to other gradients here: ask on the kind of machine"):
        sketch_new(recording, recording.dynamics.pool[:1], (), None, silent)
