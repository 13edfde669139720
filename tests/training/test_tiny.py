"""The built-in model: made once, the same everywhere on one machine, kept whole or not at all."""

from pathlib import Path

import pytest
import torch

from gptfl.training import tiny
from gptfl.training.load import load_model


def test_it_is_built_once_and_the_same_each_time(
    quick_tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    reported: list[str] = []

    def hear(what: str, done: int, total: int, note: str = "") -> None:
        reported.append(what)

    for place in ("one", "two"):
        monkeypatch.setenv("GPTFL_CACHE", str(tmp_path / place))
        reported.clear()
        first = load_model("tiny", progress=hear)
        assert "pre-train tiny" in reported
        reported.clear()
        again = load_model("tiny", progress=hear)
        assert "pre-train tiny" not in reported
        assert first.weights_hash == again.weights_hash
        hashes.append(first.weights_hash)
    assert hashes[0] == hashes[1]


def test_its_shape_is_the_documented_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path))
    monkeypatch.setattr(tiny, "STEPS", 3)
    losses: list[str] = []
    loaded = load_model("tiny", progress=lambda what, done, total, note="": losses.append(note))
    assert len(loaded.tokenizer) == loaded.model.config.vocab_size <= tiny.VOCABULARY
    assert {name: getattr(loaded.model.config, name) for name in tiny.SHAPE} == tiny.SHAPE
    first, *_, last = (float(note.split()[1].rstrip(",")) for note in losses if "loss" in note)
    assert last < first


def test_building_it_leaves_the_random_state_alone(
    quick_tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path))
    before = torch.random.get_rng_state()
    tiny.build_tiny()
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_interrupted_build_leaves_nothing(quick_tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path))

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.build_tiny(stop)
    assert list(tmp_path.iterdir()) == []


def test_it_writes_any_text(quick_tiny: None) -> None:
    loaded = load_model("tiny")
    text = "Zwei Münzen für drei naïve Löwen 🦁?"
    assert loaded.tokenizer.decode(loaded.tokenizer.encode(text)) == text
