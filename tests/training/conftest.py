"""Folders that hold a model, or are only named."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, which is also the home, with one model in ``models/llama``; the Hub's cache is empty."""
    from tests.hub import use_cache

    folder = tmp_path / "models" / "llama"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    use_cache(monkeypatch, tmp_path / "hub")
    return tmp_path


@pytest.fixture
def folder(neox: Path, tmp_path: Path) -> Path:
    """A folder with a small random GPT-NeoX, which a test may change."""
    return Path(shutil.copytree(neox, tmp_path / "model"))
