import numpy as np
import pytest

from gptfl.core import Example
from gptfl.encoders import CausalLm, MiniLm, TfidfSvd, tfidf
from gptfl.encoders.tfidf import fitted_places, reduce
from gptfl.errors import DataError, UsageError
from gptfl.testing import check_encoder
from tests.encoders.texts import examples


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


def test_long_texts_are_placed_by_what_some_of_them_span(monkeypatch):
    pool, test = examples("p", 30), examples("t", 6)
    whole = TfidfSvd(dims=4).encode(pool, test)["text"]
    known = [*pool, *test]
    letters = sum(len(one.prompt) + len(one.target) for one in known)
    monkeypatch.setattr(tfidf, "AT_ONCE", 5)
    monkeypatch.setattr(tfidf, "FITTED", letters)
    assert fitted_places(known, ("prompt", "target")) == list(range(36))
    same = TfidfSvd(dims=4).encode(pool, test)["text"]
    assert np.array_equal(same.train, whole.train)
    assert np.array_equal(same.test, whole.test)
    monkeypatch.setattr(tfidf, "FITTED", letters // 2)
    places = fitted_places(known, ("prompt", "target"))
    assert len(places) == 18 == len(set(places))
    assert (places[0], places[-1]) == (0, 35)
    found = TfidfSvd(dims=4).encode(pool, test)["text"]
    # The same as fitting to these alone and placing all others among them.
    monkeypatch.setattr(tfidf, "FITTED", letters)
    some = [known[place] for place in places]
    alone = TfidfSvd(dims=4).encode_new(known, some[:10], some[10:])["text"]
    np.testing.assert_allclose(np.concatenate([found.train, found.test]), alone, atol=1e-6)
    monkeypatch.setattr(tfidf, "FITTED", letters // 2)
    again = TfidfSvd(dims=4).encode_new(known, pool, test)["text"]
    np.testing.assert_allclose(again, np.concatenate([found.train, found.test]), atol=1e-6)


def test_tfidf_lets_a_short_target_count_as_much_as_a_long_prompt():
    pool = [
        Example(str(i), "the very same long prompt " * 5, target) for i, target in enumerate((" yes", " no", " yes"))
    ]
    made = TfidfSvd().encode(pool, pool[:1])["text"].train
    np.testing.assert_allclose(made[0], made[2])
    cosine = made[0] @ made[1] / np.linalg.norm(made[0]) / np.linalg.norm(made[1])
    assert cosine == pytest.approx(0.5)


def test_tfidf_of_plain_texts_weighs_their_targets():
    plain = [Example(str(i), "", f" the {word} sun") for i, word in enumerate(("red", "blue", "old", "new"))]
    made = TfidfSvd().encode(plain[:3], plain[3:])["text"]
    alone = TfidfSvd(text="target").encode(plain[:3], plain[3:])["text"]
    np.testing.assert_allclose(made.train, alone.train)
    with pytest.raises(DataError, match="encoder tfidf-svd: no word is in any prompt: take another part"):
        TfidfSvd(text="prompt").encode(plain[:3], plain[3:])


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
