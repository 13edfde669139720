"""Test examples asked about beside those fitted: covariances and variances against the matrix that they come of."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.asked_outputs import AskedOutputs
from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.requests import RequestedRuns
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel

TEST, D = 5, 9
SHARE, SHARED = 0.7, 0.6


def world(power):
    vectors = np.random.default_rng(0).normal(size=(TEST, D))
    kernel = SimilarityKernel.of(vectors, TEST).raised(power)
    return vectors, kernel, Hyper(np.ones(1), SHARE, SHARED, np.zeros(0), np.ones(TEST), power=power)


def asked(seen, vectors=None):
    seen = np.array(seen)
    return RequestedRuns(seen, np.zeros((1, 1, len(seen))), vectors=vectors)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7])
def test_fitted_ones_have_the_rows_and_the_diagonal_of_the_raised_matrix(power):
    vectors, kernel, hyper = world(power)
    found = AskedOutputs.of(kernel, hyper, asked([3, 0]), vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    values, turn = np.linalg.eigh(unit @ unit.T)
    raised = values**power * TEST / (values**power).sum()
    whole = SHARE * turn @ np.diag(raised) @ turn.T + (1 - SHARE) * np.eye(TEST)
    np.testing.assert_allclose(np.asarray(found.along) @ np.asarray(kernel.vectors).T, whole[[3, 0]], atol=1e-12)
    np.testing.assert_allclose(found.signal, whole.diagonal()[[3, 0]])
    np.testing.assert_allclose(found.noise, (1 - SHARED) + SHARED * whole.diagonal()[[3, 0]])
    np.testing.assert_allclose(found.sizes, kernel.sizes[[3, 0]])


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7])
def test_another_one_shares_what_lies_along_those_fitted_and_keeps_the_rest(power):
    vectors, kernel, hyper = world(power)
    across = np.linalg.svd(vectors)[2][-1]  # orthogonal to all fitted
    new = np.stack([2.0 * vectors[1], across, vectors[1] / np.linalg.norm(vectors[1]) + across])
    found = AskedOutputs.of(kernel, hyper, asked([1, -1, -1, -1], np.concatenate([vectors[1:2], new])), vectors)
    own = 1 - SHARE  # what is no other's
    twin, apart, half = range(1, 4)
    along = np.asarray(found.along)
    np.testing.assert_allclose(along[twin], along[0] - own * np.asarray(kernel.vectors)[1], atol=1e-9)
    assert found.signal[twin] == pytest.approx(found.signal[0])
    np.testing.assert_allclose(along[apart], 0.0, atol=1e-9)
    assert found.signal[apart] == pytest.approx(1.0)
    np.testing.assert_allclose(along[half], along[twin] / np.sqrt(2), atol=1e-9)
    assert found.signal[half] - own == pytest.approx(((found.signal[twin] - own) + SHARE) / 2)
    assert found.sizes[twin] == pytest.approx(2 * kernel.sizes[1])
