"""The safetensors files of a folder: which they are and what their headers say."""

from pathlib import Path

import pytest

from gptfl.training.load import load_model
from tests.training.test_loading import change


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("_orig_mod.", "_orig_mod."),
        ("module.", "module."),
        ("module._orig_mod.", "_orig_mod. and module."),
        ("module.module.", "module."),
    ],
)
def test_prefixes_of_wrappers_are_taken_off_and_said(folder: Path, prefix: str, said: str) -> None:
    before = load_model(str(folder))
    change(folder, lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()})
    after = load_model(str(folder))
    assert after.weights_hash == before.weights_hash
    assert before.notes == ()
    assert after.notes == (f"--model {folder}: the weights' names are read without {said}",)
