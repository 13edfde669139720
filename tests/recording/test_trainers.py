"""Which model a recording is trained with again: its own, where the user knows it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptfl.core import RecordingSettings
from gptfl.errors import DataError
from gptfl.recording.trainers import model_of
from gptfl.training.load import load_model


def recording(**settings: Any) -> Any:
    return SimpleNamespace(
        path=Path("own.dynamics.h5"), dynamics=SimpleNamespace(settings=RecordingSettings.of(settings))
    )


def test_a_strangers_recording_has_no_model_loaded(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path))
    found = recording(model="models/neox", source=str(neox))
    with pytest.raises(
        DataError, match=rf"^own.dynamics.h5 names the model {neox}, which you .*: if you want that: --model {neox}"
    ):
        model_of(found, None)
    assert model_of(found, "theirs") == "theirs"
    load_model(str(neox))
    assert model_of(found, None) == str(neox)
    assert len((tmp_path / "named-models.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize("source", ["built in", "/no/such", None, 7])
def test_a_short_name_is_its_own_model_whatever_place_is_written_beside_it(source: object) -> None:
    assert model_of(recording(model="tiny", source=source), None) == "tiny"


def test_a_recording_that_names_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own.dynamics.h5 does not say which model .*: name one: --model pythia-70m"):
        model_of(recording(), None)
