"""Models by any name: folders as they are, and their tokenizers alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gptfl.errors import DataError
from gptfl.training.load import load_model
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
