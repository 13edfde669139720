"""The safetensors files of a folder: which they are and what their headers say."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gptfl.errors import DataError
from gptfl.training import weight_files
from gptfl.training.load import load_model
from gptfl.training.weight_files import INDEX, LFS, SINGLE, check_folder, printable, read_json, read_weight_files, shown
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


def test_headers_tell_names_shapes_and_types(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / SINGLE)
    found = read_weight_files(tmp_path, "here")
    assert {name: (one.shape, one.dtype) for name, one in found.tensors.items()} == {
        "a.weight": ((2, 3), "F32"),
        "b": ((4,), "BF16"),
    }
    assert found.notes == ()
    torch.testing.assert_close(found.slices()["a.weight"][:], tensors["a.weight"])


def in_parts(folder: Path, weight_map: object, **parts: dict[str, torch.Tensor]) -> Path:
    for name, tensors in parts.items():
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_weights_in_several_files_are_those_that_the_index_names(tmp_path: Path) -> None:
    one = torch.arange(3.0)
    folder = in_parts(tmp_path, {"x": "b.safetensors", "y": "a.safetensors"}, a={"y": one}, b={"x": one + 1})
    found = read_weight_files(folder, "here")
    assert [path.name for path in found.paths] == ["a.safetensors", "b.safetensors"]
    assert {name: one[:].tolist() for name, one in found.slices().items()} == {"y": [0, 1, 2], "x": [1, 2, 3]}


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({}, "has no weight_map"),
        ([1], "has no weight_map"),
        ({"x": "../a.safetensors"}, "names '../a.safetensors': only .safetensors files in the folder itself"),
        ({"x": "a.bin"}, "names 'a.bin'"),
        ({"x": 3}, "names 3"),
        ({"x": "c.safetensors"}, "c.safetensors is missing"),
        ({"x": "a.safetensors", "y": "b.safetensors"}, "x is in a.safetensors and in b.safetensors"),
    ],
)
def test_an_index_that_leads_nowhere_is_one_line(tmp_path: Path, weight_map: object, message: str) -> None:
    folder = in_parts(tmp_path, weight_map, a={"x": torch.zeros(1)}, b={"x": torch.zeros(1)})
    with pytest.raises(DataError, match=re.escape(message)):
        read_weight_files(folder, "here")


def test_a_cut_file_says_how_much_is_there(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(100)}, tmp_path / SINGLE)
    whole = (tmp_path / SINGLE).read_bytes()
    for data, message in (
        (whole[:-5], f"is cut: {len(whole) - 5} of {len(whole)} bytes are there"),
        (whole[:20], "is cut: 20 of "),
        (b"", "is empty"),
        (b"x" * 40, "is no whole safetensors file"),
        (LFS + b"v1", "is a Git LFS pointer, not the file itself"),
    ):
        (tmp_path / SINGLE).write_bytes(data)
        with pytest.raises(DataError, match=message):
            read_weight_files(tmp_path, "here")


def test_one_weight_with_and_without_a_wrapper_is_refused(tmp_path: Path) -> None:
    save_file({"x.w": torch.zeros(1), "x._orig_mod.w": torch.zeros(1)}, tmp_path / SINGLE)
    with pytest.raises(DataError, match="are one weight but for a wrapper's prefix"):
        read_weight_files(tmp_path, "here")


@pytest.mark.parametrize(
    ("name", "said"), [("w.bin", "pickled weights"), ("w.gguf", "a GGUF file"), ("x", "save it as")]
)
def test_other_kinds_of_weights_are_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"has neither model.safetensors nor") as caught:
        read_weight_files(tmp_path, "here")
    assert said in caught.value.remedy


def test_json_is_an_object_of_a_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for text, message in (
        ("[1]", "is no JSON object"),
        ("{", "is no JSON"),
        ("[" * 10**5, "is no JSON"),
        ("{" + " " * 99, "larger"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            read_json(path, "here", 99 if message == "larger" else 10**6)
        assert "\n" not in str(caught.value)
    path.write_text('{"größe": 1}', encoding="utf-8")
    assert read_json(path, "here", 99) == {"größe": 1}


def test_a_folder_holds_no_pipe_and_no_huge_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vocab.json").write_text("[" + "1," * 50 + "1]")
    check_folder(tmp_path, "here")
    monkeypatch.setattr(weight_files, "MAX_VALUES", 50)
    with pytest.raises(DataError, match=r"vocab.json holds more than 50 values"):
        check_folder(tmp_path, "here")
    monkeypatch.setattr(weight_files, "MAX_TEXT", 50)
    with pytest.raises(DataError, match=r"vocab.json is larger than 50 bytes"):
        check_folder(tmp_path, "here")
    (tmp_path / "vocab.json").unlink()
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(DataError, match=r"tokenizer.json is neither a file nor a folder: take it away"):
        check_folder(tmp_path, "here")


def test_values_from_files_are_shown_short_and_printable() -> None:
    assert shown("a\x1b[31m") == "'a\\x1b[31m'"
    assert printable("a\x1b\n") == "a??"
    assert len(printable("x" * 500)) == 160
