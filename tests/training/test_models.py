"""The cache of built models: whole or not at all, and a clear word where it can't be used."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gptfl.errors import ResourceError
from gptfl.training.models import build_folder, is_built
from gptfl.training.tiny import build_tiny


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), build_folder(tmp_path / "a" / "model"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [], "the folder of the folder was made for it alone"
    with build_folder(tmp_path / "a" / "model") as folder:
        (folder / "weights").write_text("w")
        assert not (tmp_path / "a" / "model").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]


def test_another_process_may_finish_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl.training.models.is_built", lambda target: (target / "weights").exists())
    target = tmp_path / "model"
    with build_folder(target) as folder:
        (folder / "weights").write_text("late")
        target.mkdir()
        (target / "weights").write_text("early")
    assert (target / "weights").read_text() == "early"
    assert list(tmp_path.iterdir()) == [target]


def test_a_rename_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, target: Path) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "replace", refused)
    message = "model can't be written: Permission denied: set GPTFL_CACHE"
    with pytest.raises(ResourceError, match=message), build_folder(tmp_path / "model"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        Exception("No space left on device (os error 28)"),  # as tokenizers raises it
    ],
)
def test_a_full_disk_is_reported_and_nothing_stays(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(ResourceError, match=r"No space left on device.*GPTFL_CACHE"), build_folder(tmp_path / "model"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such model"), build_folder(tmp_path / "model"):
        raise OSError("no such model")


@pytest.mark.parametrize("name", ["taken", "x" * 300])
def test_a_cache_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path / name))
    with pytest.raises(ResourceError, match=r"can't be written: .*GPTFL_CACHE"):
        build_tiny()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a built model's folder looks like."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text('{"a": 1}\n')
    save_file({"weight": torch.ones(3)}, folder / "model.safetensors")
    return folder


def test_a_whole_model_is_not_built_again(built: Path) -> None:
    assert is_built(built)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("spoiled", ["gone", "empty", "half", "zeros"])
def test_what_a_power_cut_left_is_built_again(built: Path, name: str, spoiled: str) -> None:
    path = built / name
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "zeros": bytes(len(whole))}.get(spoiled, b""))
    if spoiled == "gone":
        path.unlink()
    assert not is_built(built)
    with build_folder(built) as folder:
        (folder / "anew").touch()
    assert [path.name for path in built.iterdir()] == ["anew"]
    assert list(built.parent.iterdir()) == [built]
