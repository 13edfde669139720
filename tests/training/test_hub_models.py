"""The files of a model in the cache of the Hub; what the Hub answers is tested in tests/test_hub.py."""

from pathlib import Path

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.training.hub_models import cached_tokenizer, fetch_model
from tests.hub import add_file, use_cache

ASKED = {"where": "--model a/b", "instead": "pass a folder"}
ONE, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_cache(monkeypatch, tmp_path)
    return tmp_path


def put(home: Path, name: str, text: str = "", revision: str = ONE) -> Path:
    path = add_file(home, "a/b", revision, name, repo_type="model", ref="main")
    path.write_text(text)
    return path.parent


def test_every_file_that_the_index_names_has_to_be_there(home: Path) -> None:
    index = '{"weight_map": {"x": "1.safetensors", "y": "2.safetensors"}}'
    put(home, "config.json", "{}")
    put(home, "1.safetensors")
    folder = put(home, "model.safetensors.index.json", index)
    with pytest.raises(ResourceError, match="--model a/b: a/b is not in the cache, and HF_HUB_OFFLINE is set"):
        fetch_model("a/b", **ASKED)
    put(home, "2.safetensors")
    assert fetch_model("a/b", **ASKED) == folder


def test_a_damaged_index_is_told_at_once(home: Path) -> None:
    put(home, "config.json", "{}")
    put(home, "model.safetensors.index.json", "{")
    with pytest.raises(DataError, match=r"model\.safetensors\.index\.json is no JSON"):
        fetch_model("a/b", **ASKED)


def test_a_tokenizer_is_looked_for_in_the_cache_alone(home: Path) -> None:
    assert cached_tokenizer("a/b") is None
    put(home, "config.json", "{}")
    assert cached_tokenizer("a/b") is None
    folder = put(home, "tokenizer.json", "{}")
    assert cached_tokenizer("a/b") == folder
