"""Model folders: whole ones are loaded as they are, and nothing is drawn at random in place of what is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gptfl.errors import DataError, ResourceError
from gptfl.training import loading
from gptfl.training.load import load_model
from gptfl.training.models import check_causal
from tests.models import save_small


def change(folder: Path, alter: Any) -> None:
    save_file(alter(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **values: Any) -> None:
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**known, **values}))


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    def alter(tensors: dict[str, Any]) -> dict[str, Any]:
        for name in ("layers.0.mlp.dense_h_to_4h", "layers.1.mlp.dense_4h_to_h", "layers.1.mlp.dense_h_to_4h"):
            del tensors[f"gpt_neox.{name}.bias"]
        del tensors["gpt_neox.final_layer_norm.bias"]
        tensors["embed_out.weight"] = tensors["embed_out.weight"][:, :-1].clone()
        tensors["score.weight"] = torch.zeros(2)
        return tensors

    change(folder, alter)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    with pytest.raises(DataError) as caught:
        load_model(str(folder))
    assert caught.value.problem == (
        f"--model {folder}: the weights don't fit GPTNeoXForCausalLM: 4 missing (gpt_neox.final_layer_norm.bias, "
        "gpt_neox.layers.0.mlp.dense_h_to_4h.bias, gpt_neox.layers.1.mlp.dense_4h_to_h.bias and 1 more); "
        f"1 unexpected (score.weight); 1 of another shape (lm_head.weight ({rows}, 31) instead of ({rows}, 32))"
    )


def test_a_head_may_be_missing_only_where_it_is_tied(tmp_path: Path, folder: Path) -> None:
    tied = save_small(tmp_path / "llama", "llama")
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    model = load_model(str(tied)).model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    change(folder, lambda tensors: {name: value for name, value in tensors.items() if name != "embed_out.weight"})
    with pytest.raises(
        DataError, match=r"the output layer \(lm_head\.weight\) is missing, and config\.json doesn't tie"
    ):
        load_model(str(folder))


def test_a_head_beside_a_tied_embedding_is_taken_and_said(tmp_path: Path) -> None:
    tied = save_small(tmp_path / "llama", "llama")
    embedding = load_file(tied / "model.safetensors")["model.embed_tokens.weight"]
    change(tied, lambda tensors: {**tensors, "lm_head.weight": embedding.clone()})
    assert load_model(str(tied)).notes == ()
    change(tied, lambda tensors: {**tensors, "lm_head.weight": embedding + 1.0})
    loaded = load_model(str(tied))
    torch.testing.assert_close(loaded.model.lm_head.weight, embedding + 1.0, rtol=0, atol=0)
    (note,) = loaded.notes
    assert "its output layer is another than its embedding, though config.json ties them" in note


def test_what_is_not_finite_has_its_own_words(folder: Path) -> None:
    def alter(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors["gpt_neox.final_layer_norm.bias"][0] = torch.nan
        tensors["embed_out.weight"][0, 0] = -torch.inf
        return tensors

    change(folder, alter)
    message = r"NaN or infinity in gpt_neox\.final_layer_norm\.bias, lm_head\.weight: get the files again"
    with pytest.raises(DataError, match=message):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["gpt_neox.layers.0.mlp.dense_h_to_4h.weight", "embed_out.weight"])
def test_whole_numbers_are_no_weights(folder: Path, name: str) -> None:
    change(folder, lambda tensors: {**tensors, name: tensors[name].to(torch.int8)})
    with pytest.raises(
        DataError, match=rf"{name} is of type I8: these are no weights to train: choose the model as it was"
    ):
        load_model(str(folder))


def test_huge_finite_weights_are_finite(folder: Path) -> None:
    change(folder, lambda tensors: {name: torch.full_like(value, 3e38) for name, value in tensors.items()})
    load_model(str(folder))


def test_nothing_is_allocated_for_a_model_that_has_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(loading.WeightFiles, "slices", lambda self: pytest.fail("weights were read"))
    with pytest.raises(ResourceError, match=r"GB in float32, and this machine has 1e-05 GB of memory"):
        load_model(str(folder))


def test_config_has_no_say_in_how_attention_is_computed(folder: Path) -> None:
    before = load_model(str(folder)).model.config._attn_implementation
    configure(folder, _attn_implementation="kernels-community/evil", _experts_implementation="evil/evil")
    assert load_model(str(folder)).model.config._attn_implementation == before


def test_generation_settings_come_with_the_folder(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": 7, "repetition_penalty": 1.25}')
    assert load_model(str(folder)).model.generation_config.repetition_penalty == 1.25


def test_full_memory_is_not_the_folders_fault() -> None:
    for error in (MemoryError(), RuntimeError("could not create a primitive"), OSError(12, "no room")):
        with pytest.raises(type(error)), loading.blamed("the folder", "get it again"):
            raise error
    with (
        pytest.raises(DataError, match=r"the folder \(ZeroDivisionError: by zero and more\): get it again"),
        loading.blamed("the folder", "get it again"),
    ):
        raise ZeroDivisionError("by zero\nand more")


def test_a_model_that_sees_what_follows_is_not_causal(neox: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertLMHeadModel

    check_causal(load_model(str(neox)))
    tokenizer = AutoTokenizer.from_pretrained(neox)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    with pytest.raises(DataError, match=r"BertLMHeadModel is not causal: what it predicts of a token depends on those"):
        check_causal(loaded)


def test_advice_that_transformers_logs_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    from gptfl.training.network import Network

    logging.warning_once.cache_clear()
    loaded = load_model(str(save_small(tmp_path / "gpt2", "gpt2")))
    assert loaded.model.config.pad_token_id == 0
    Network(loaded, None, "fp32")
    assert "attention_mask" not in capfd.readouterr().err + caplog.text
