"""Checkpoints: at which steps, whole files only, and back into the model that they belong to."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.store.durable import remove_leftovers
from gptfl.training import checkpoints
from gptfl.training.checkpoints import CheckpointWriter, checkpoint_steps, read_checkpoint, write_checkpoint
from gptfl.training.trainer import RecordingTrainer
from tests.models import save_small
from tests.training.test_trainer import make, plan


def checkpointed(folder: Path, at: Path, *steps: int, **recipe: object) -> RecordingTrainer:
    trainer = make(folder, **recipe)
    trainer.checkpoint_writer = CheckpointWriter(at, steps, "this one")
    return trainer


def test_points_are_evenly_spaced_recorded_steps() -> None:
    recorded = list(range(0, 97, 4))
    assert checkpoint_steps("10", recorded) == (0, 12, 20, 32, 44, 52, 64, 76, 84, 96)
    assert checkpoint_steps("2", recorded) == (0, 96)
    assert checkpoint_steps("all", recorded) == tuple(recorded)
    assert checkpoint_steps("100", recorded) == tuple(recorded)


@pytest.mark.parametrize("text", ["some", "0", "1", "-3", "1.5", "", "²", "9" * 400])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--checkpoints .*from 2 on, or all"):
        checkpoint_steps(text, [0, 1])


@pytest.mark.parametrize("recipe", [{}, {"train_layers": 1}, {"lora": "r=2"}, {"lora": "r=2", "train_layers": 2}])
def test_weights_come_back(any_model: Path, tmp_path: Path, recipe: dict[str, object]) -> None:
    trainer = checkpointed(any_model, tmp_path, 0, 2, 4, **recipe)
    run = trainer.run(plan(), lambda done, total: None)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.safetensors"))
    assert names == [f"run-0000/step-00000{step}.safetensors" for step in (0, 2, 4)]
    fresh = make(any_model, **recipe)
    for row, step in enumerate((0, 2, 4)):
        checkpoint = read_checkpoint(trainer.checkpoint_writer.path(0, step), fresh.network)  # type: ignore[union-attr]
        assert (checkpoint.run, checkpoint.step) == (0, step)
        fresh.network.load(checkpoint.weights)
        np.testing.assert_array_equal(fresh.evaluator.measure()["loss"], run.metrics["loss"][2 * row])
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    trained = sum(weight.numel() for weight in trainer.network.trainable)
    assert 3 * 4 * trained < size < 3 * (4 * trained + 20_000)


def test_keeping_changes_nothing(neox: Path, tmp_path: Path) -> None:
    kept = checkpointed(neox, tmp_path, 1, 3).run(plan(), lambda done, total: None)
    plain = make(neox).run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(kept.metrics["loss"], plain.metrics["loss"])


def test_what_does_not_belong_is_refused(neox: Path, tmp_path: Path) -> None:
    trainer = checkpointed(neox, tmp_path, 1)
    trainer.run(plan(1), lambda done, total: None)
    path = tmp_path / "run-0000" / "step-000001.safetensors"
    with pytest.raises(DataError, match=r"checkpoint .*step-000009.* is missing: record it with .*--checkpoints"):
        read_checkpoint(path.with_name("step-000009.safetensors"), trainer.network)
    other = make(save_small(tmp_path / "other", "llama")).network
    with pytest.raises(DataError, match="checkpoints from another model than"):
        read_checkpoint(path, other)
    with pytest.raises(DataError, match="holds other trained weights"):
        read_checkpoint(path, make(neox, train_layers=1).network)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"\xff" * 200):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            read_checkpoint(path, trainer.network)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="is no checkpoint of gptfl"):
        read_checkpoint(path, trainer.network)


def test_weights_that_were_altered_are_refused(neox: Path, tmp_path: Path) -> None:
    network = make(neox).network
    about = {"weights": network.loaded.weights_hash, "run": 0, "step": 0}
    path, weights = tmp_path / "c.safetensors", network.weights()
    name = network.names[0]
    for altered in (torch.full_like(weights[name], torch.nan), weights[name].half()):
        write_checkpoint(path, {**weights, name: altered}, about)
        with pytest.raises(DataError, match=rf"{name} holds no finite numbers of type torch\.float32"):
            read_checkpoint(path, network)
    write_checkpoint(path, weights, {**about, "step": True})
    with pytest.raises(DataError, match="doesn't say of which run and step"):
        read_checkpoint(path, network)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="is a Git LFS pointer"):
        read_checkpoint(path, network)


def test_a_checkpoint_counts_only_whole_and_of_its_recording(neox: Path, tmp_path: Path) -> None:
    trainer = checkpointed(neox, tmp_path, 0, 1)
    writer = trainer.checkpoint_writer
    assert writer is not None
    assert writer.missing(0)
    trainer.run(plan(1), lambda done, total: None)
    assert not writer.missing(0)
    assert writer.missing(1)
    assert CheckpointWriter(tmp_path, (0, 1), "another").missing(0)
    assert CheckpointWriter(tmp_path, (0,), "this one").missing(0) is False
    path = writer.path(0, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert writer.missing(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems differ")
def test_one_is_nobodys_to_delete_while_it_is_written_and_then_everybodys_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run-0000"
    removed: list[Path] = []

    def save(*given: Any, **more: Any) -> None:
        save_file(*given, **more)
        removed.extend(remove_leftovers(folder))

    monkeypatch.setattr(checkpoints, "save_file", save)
    former = os.umask(0o022)
    try:
        write_checkpoint(folder / "step-000000.safetensors", {"w": torch.ones(2)}, {})
    finally:
        os.umask(former)
    assert removed == []
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_the_system_refuses_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ResourceError, match=r"taken.* can't be written"):
        write_checkpoint(tmp_path / "taken" / "x.safetensors", {"a": torch.zeros(2)}, {})
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(ResourceError, match="can't be written"):
        write_checkpoint(tmp_path / "x.safetensors", {"a": torch.zeros(2)}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "x.safetensors"]


def test_room_is_looked_for_first(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "not" / "there", (0,))
    writer.check_room(1)
    with pytest.raises(ResourceError, match=r"--checkpoints: they take 1e\+21 GB and .* GB free: ask for fewer"):
        writer.check_room(10**30)
