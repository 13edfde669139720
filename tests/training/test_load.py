"""Models by any name: folders as they are, and their tokenizers alone."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gptfl.errors import DataError
from gptfl.training.load import load_model, load_tokenizer
from gptfl.training.named import model_in_file
from tests.models import save_small

HEADS = {"embed_out.weight": "lm_head.weight"}
"""A weight that transformers calls otherwise than its files do."""


def test_every_weight_is_the_files(any_model: Path) -> None:
    found = load_model(str(any_model)).model.state_dict()
    for name, value in load_file(any_model / "model.safetensors").items():
        assert torch.equal(found[HEADS.get(name, name)], value)


@pytest.mark.parametrize("family", ["gpt-neox", "gpt2"])
def test_a_folder_without_a_tokenizer_is_said_to_be_one(tmp_path: Path, family: str) -> None:
    folder = save_small(tmp_path / "model", family)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(DataError, match=r"model holds no tokenizer, or one that knows no token: save it beside"):
        load_model(str(folder))


def test_a_tokenizer_comes_with_the_models_length_and_without_its_weights(folder: Path) -> None:
    whole = load_model(str(folder))
    (folder / "model.safetensors").unlink()
    tokenizer, longest = load_tokenizer(str(folder))
    assert longest == 128
    text = "the sun is größer"
    assert tokenizer.encode(text) == whole.tokenizer.encode(text)
    (folder / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"config.json can't be read .*: save it beside the weights"):
        load_tokenizer(str(folder))


def test_a_model_that_was_loaded_by_name_is_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTFL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="which you have not used here yet"):
        model_in_file(str(folder), str(folder), "x.h5", "--model ")
    load_model(str(folder))
    assert model_in_file(str(folder), str(folder), "x.h5", "--model ") == str(folder)


def test_a_tokenizer_is_not_read_beside_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "extra.json")
    with pytest.raises(DataError, match=r"extra.json is neither a file nor a folder"):
        load_tokenizer(str(folder))
