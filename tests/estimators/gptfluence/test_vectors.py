"""Which vectors gptfluence works on, and how they are standardised."""

import numpy as np
import pytest
import torch

from gptfl.core import Features, FeatureSet, blocked_rows
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.vectors import Standard, chosen_set, standards
from tests.estimators.exposure_gp.worlds import Held

RANDOM = np.random.default_rng(0)
ONE = FeatureSet(RANDOM.normal(3.0, 2.0, size=(6, 4)), RANDOM.normal(size=(3, 4)))


def features(**sets: FeatureSet) -> Features:
    return Features("made-up", {}, "", sets)


def test_the_only_set_is_taken_and_one_of_several_by_its_name() -> None:
    assert chosen_set(features(text=ONE), None, 6, 3) is ONE
    other = FeatureSet(ONE.train, ONE.test)
    assert chosen_set(features(a=other, b=ONE), "b", 6, 3) is ONE


@pytest.mark.parametrize(
    ("given", "name", "message"),
    [
        (None, None, "gptfluence needs the examples' vectors: run `gptfl featurize` first"),
        (features(), None, "the features of 'made-up' hold 0 sets"),
        (features(**{"raw-10": ONE, "raw-9": ONE}), None, "hold 2 sets: raw-9, raw-10: choose one"),
        (features(text=ONE), "raw-0", "the features hold no set 'raw-0': known: text"),
        (
            features(text=FeatureSet(ONE.train[:5], ONE.test)),
            None,
            "has vectors for 5 pool and 3 test examples, the recording has 6 and 3",
        ),
        (features(text=FeatureSet(ONE.train, ONE.test * np.nan)), None, "holds numbers that aren't finite"),
    ],
)
def test_what_is_not_evident_or_does_not_fit_is_one_line(
    given: Features | None, name: str | None, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        chosen_set(given, name, 6, 3)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_standard_shifts_and_divides_by_one_number() -> None:
    standard = Standard.of_pool(ONE.train)
    found = standard(ONE.train)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.mean(dim=0), 0.0, atol=1e-6)
    assert float((found**2).mean()) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(standard(ONE.test), (ONE.test - ONE.train.mean(axis=0)) / standard.scale, rtol=1e-5)


def test_a_pool_of_equal_vectors_is_divided_by_nothing() -> None:
    standard = Standard.of_pool(np.full((4, 2), 5.0))
    assert standard.scale == 1.0
    np.testing.assert_array_equal(standard(np.full((1, 2), 6.0)), 1.0)


def test_examples_that_were_fitted_keep_their_vectors_and_others_are_standardised_alike() -> None:
    standard = Standard.of_pool(ONE.train)
    fitted = torch.arange(12.0).reshape(3, 4)
    found = standard.beside(fitted, ONE.train[:4], np.array([2, -1, 0, -1]))
    torch.testing.assert_close(found[[0, 2]], fitted[[2, 0]])
    torch.testing.assert_close(found[[1, 3]], standard(ONE.train[[1, 3]]))
    with pytest.raises(DataError, match="have vectors of 3 numbers, those fitted of 4: take the encoder"):
        standard.beside(fitted, ONE.train[:1, :3], np.array([-1]))
    with pytest.raises(DataError, match="asked for example 3 of 3 that were fitted"):
        standard.beside(fitted, ONE.train[:1], np.array([3]))


def test_gradients_have_a_standard_on_each_side_and_all_else_that_of_the_pool() -> None:
    train, test = standards(ONE)
    assert train is test
    train, test = standards(FeatureSet(1e3 * ONE.train, ONE.test, "gradient"))
    assert train.scale > 100 * test.scale
    np.testing.assert_allclose(test.mean, ONE.test.mean(axis=0))


def test_the_standard_of_a_pool_that_is_not_in_memory_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 64)
    vectors = RANDOM.normal(1000.0, 0.5, size=(23, 4))
    one, other = Standard.of_pool(vectors), Standard.of_pool(Held(vectors))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    assert other.scale == pytest.approx(one.scale, rel=1e-9)
    assert Standard.of_pool(Held(np.ones((9, 4)))).scale == 1.0
