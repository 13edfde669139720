"""What names stand for."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.training.names import resolve_model


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("pythia-410m", "EleutherAI/pythia-410m-deduped"),
        ("Pythia-2.8B", "EleutherAI/pythia-2.8b-deduped"),
        ("pythia-410m-deduped", "EleutherAI/pythia-410m-deduped"),
        ("pythia-14m", "EleutherAI/pythia-14m"),
        ("EleutherAI/pythia-410m", "EleutherAI/pythia-410m"),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ],
)
def test_names_of_the_hub(name: str, location: str) -> None:
    source = resolve_model(name)
    assert (source.kind, source.location) == ("hub", location)
    assert (location in source.announcement) == (name != location)


def test_a_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "org" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    source = resolve_model("org/model")
    assert (source.kind, source.stem) == ("folder", "model")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without config\.json"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "hint"), [("pythia-41m", "pythia-14m|pythia-410m"), ("gpt9", "known: "), ("./absent", "known: ")]
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        resolve_model(name)
