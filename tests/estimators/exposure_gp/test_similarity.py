"""The likeness of test examples, and its spectrum to a power."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.similarity import SimilarityKernel, spectrum


def test_likeness_is_the_cosines_and_the_lengths():
    vectors = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    kernel = SimilarityKernel.of(vectors, 3)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(kernel.cosines, [[1, 0, half], [0, 1, half], [half, half, 1]], atol=1e-12)
    assert np.mean(kernel.sizes**2) == pytest.approx(1)
    assert kernel.sizes[1] / kernel.sizes[0] == pytest.approx(4 / 3)
    alone = SimilarityKernel.of(None, 3)
    np.testing.assert_array_equal(alone.cosines, np.zeros((3, 3)))


@pytest.mark.parametrize("power", [0.3, 1.0, 2.5])
def test_a_power_raises_the_eigenvalues_and_keeps_their_sum_and_the_cosines(power):
    vectors = np.random.default_rng(0).normal(size=(6, 3))  # of rank 3: three eigenvalues are 0
    kernel = SimilarityKernel.of(vectors, 6)
    raised = kernel.raised(power)
    whole = np.asarray(raised.vectors * raised.values) @ np.asarray(raised.vectors).T
    values, turn = np.linalg.eigh(kernel.cosines)
    expected = np.where(values > 1e-9, np.maximum(values, 1e-300) ** power, 0.0)
    np.testing.assert_allclose(whole, turn @ np.diag(expected * 6 / expected.sum()) @ turn.T, atol=1e-9)
    assert raised.values.sum() == pytest.approx(6.0)
    np.testing.assert_allclose(raised.cosines, kernel.cosines, atol=1e-9)
    assert kernel.raised(1.0).values == pytest.approx(np.maximum(kernel.values, 0.0))


def test_extreme_powers_and_nothing_alike_stay_finite():
    values = np.array([0.0, 1e-12, 1.0, 1e4])
    for power in (0.2, 5.0, 400.0):
        found = spectrum(values, power)
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(values.sum())
    assert spectrum(np.zeros(3), 2.0).tolist() == [0.0, 0.0, 0.0]
    assert SimilarityKernel.of(None, 3).raised(2.0).values.tolist() == [0.0, 0.0, 0.0]
