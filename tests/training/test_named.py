"""Which models a file may have loaded: those that the user of this machine has named."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.training import named
from gptfl.training.named import LIST, model_in_file, remember
from gptfl.training.names import resolve_model


def test_a_file_names_no_model_that_the_user_has_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(here / "cache"))
    folder = here / "models" / "llama"
    assert model_in_file("pythia-14m", str(folder), "x.h5", "--model ") == "pythia-14m"
    for name, location in (("models/llama", str(folder)), ("some/where", "some/where"), ("gone", str(here / "gone"))):
        with pytest.raises(
            DataError, match=r"x\.h5 names the model .*, which you have not used here yet.*: if you want that: --model "
        ):
            model_in_file(name, location, "x.h5", "--model ")
    with pytest.raises(DataError, match=r"x\.h5: --model './gone' is no folder: name the model where it lies now"):
        model_in_file("./gone", None, "x.h5", "--model ")
    with pytest.raises(DataError, match=r"x\.h5 does not say which model"):
        model_in_file(None, None, "x.h5", "--model ")
    remember(resolve_model("~/models/llama"))
    remember(resolve_model("some/where"))
    assert model_in_file("models/llama", str(folder), "x.h5", "--model ") == str(folder)
    assert model_in_file("some/where", "some/where", "x.h5", "--model ") == "some/where"


def test_a_list_that_is_none_names_no_model(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(here / "cache"))
    source = resolve_model("models/llama")
    remember(source)
    remember(source)
    path = here / "cache" / LIST
    assert path.read_text(encoding="utf-8").splitlines() == [source.location]
    path.write_bytes(b"\xff\n" + path.read_bytes())
    assert model_in_file("models/llama", None, "x.h5", "--model ") == "models/llama"
    monkeypatch.setattr(named, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="have not used here yet"):
        model_in_file("models/llama", None, "x.h5", "--model ")
    path.unlink()
    path.mkdir()
    remember(source)
    with pytest.raises(DataError, match="have not used here yet"):
        model_in_file("models/llama", None, "x.h5", "--model ")
