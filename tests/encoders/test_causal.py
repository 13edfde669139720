import shutil

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.encoders import CausalLm
from gptfl.errors import DataError
from gptfl.features.embedding import same_identity
from gptfl.testing import check_encoder
from tests.encoders.texts import examples


def test_causal_lm_gives_the_models_own_hidden_states(neox):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pool, test = examples("p", 4), examples("t", 2)
    tokenizer, model = AutoTokenizer.from_pretrained(neox), AutoModelForCausalLM.from_pretrained(neox)
    for token, layer in (("last", -1), ("mean", 1), ("last", 0)):
        made = CausalLm(model=str(neox), token=token, layer=layer, device="cpu").encode(pool, test)["hidden"]
        for example, vector in zip([*pool, *test], np.concatenate([made.train, made.test]), strict=True):
            ids = torch.tensor([tokenizer.encode(example.text)[-128:]])
            with torch.no_grad():
                states = model(ids, output_hidden_states=True).hidden_states[layer][0]
            expected = states[-1] if token == "last" else states.mean(0)
            np.testing.assert_allclose(vector, expected.numpy(), rtol=2e-4, atol=2e-5)


def test_causal_lm_keeps_every_promise_of_an_encoder(neox):
    check_encoder(CausalLm, model=str(neox), device="cpu")


def test_causal_lm_is_the_same_wherever_its_model_lies(neox, tmp_path):
    moved = shutil.copytree(neox, tmp_path / "moved")
    first, second = (CausalLm(model=str(folder), device="cpu").identity() for folder in (neox, moved))
    assert first != second
    assert same_identity(first, second)
    assert not same_identity(first, {**second, "layer": 1})
    assert not same_identity({**first, "weights": "0"}, second)
    assert not same_identity({"model": "a"}, {"model": "b"})


def test_an_empty_text_is_the_start_token_or_nothing(neox):
    plain = [Example("a", "", " yes"), Example("b", "", " no sun"), Example("c", "red", " no")]
    made = CausalLm(str(neox), text="prompt", token="mean").encode(plain[:2], plain[2:])["hidden"]
    started = CausalLm(str(neox), text="target").encode([Example("s", "", "<|end|>")], plain[2:])["hidden"]
    np.testing.assert_allclose(made.train, np.repeat(started.train, 2, axis=0), atol=1e-5)
    without = CausalLm(str(neox), text="prompt")
    for name in ("bos_token", "eos_token"):
        setattr(without._loaded.tokenizer, name, None)
    with pytest.raises(DataError, match="encoder causal-lm: a text is empty, and the tokenizer"):
        without.encode(plain[:2], plain[2:])


def test_causal_lm_counts_what_it_cuts(neox):
    made = CausalLm(model=str(neox), device="cpu", max_length=4)
    made.encode(examples("p", 2), examples("t", 1))
    assert "3 texts are longer than 4 tokens" in made.notes[-1]
