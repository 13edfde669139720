"""Eigenvectors in blocks are multiplied as the whole matrix would be, and a fit goes by them as by that."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import block_basis
from gptfl.estimators.exposure_gp.block_basis import BlockBasis, alone, eigenbasis
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel
from tests.estimators.exposure_gp.worlds import about, question, world

TESTS, WIDTH = 11, 3


def unit(count=TESTS, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, WIDTH))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


@pytest.fixture
def basis(monkeypatch):
    monkeypatch.setattr(block_basis, "BLOCK", 4)
    return eigenbasis(unit())[1]


def test_products_from_both_sides_are_those_of_the_whole(basis):
    whole, random = np.asarray(basis), np.random.default_rng(1)
    left, three, right = (random.normal(size=shape) for shape in ((5, TESTS), (2, 5, TESTS), (TESTS, 4)))
    places = np.array([7, 0, 3, 3])
    for one, other in (
        (left @ basis, left @ whole),
        (three @ basis, three @ whole),
        (left[0] @ basis, left[0] @ whole),
        (basis @ right, whole @ right),
        (basis @ right[:, 0], whole @ right[:, 0]),
        (left @ basis.T, left @ whole.T),
        (left @ (basis * right[:, 0]), left @ (whole * right[:, 0])),
        (left @ (2.0 * basis + basis * basis), left @ (2 * whole + whole**2)),
        (left @ (basis**2).T, left @ (whole**2).T),
        (basis[places] @ right, whole[places] @ right),
        (left[:, :4] @ basis[places], left[:, :4] @ whole[places]),
        (np.asarray(basis[places]), whole[places]),
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert (len(basis), basis.T.shape, basis[places].shape) == (TESTS, whole.T.shape, (4, TESTS))
    assert np.asarray(basis, dtype=np.float32).dtype == np.float32


def test_they_are_eigenvectors_of_the_likeness_within_blocks(basis, monkeypatch):
    values, _ = eigenbasis(unit())
    cosines = unit() @ unit().T
    within = np.zeros_like(cosines)
    for rows in basis.rows:
        within[np.ix_(rows, rows)] = cosines[np.ix_(rows, rows)]
    whole = np.asarray(basis)
    np.testing.assert_allclose((whole * values) @ whole.T, within, atol=1e-12)
    np.testing.assert_allclose(whole.T @ whole, np.eye(TESTS), atol=1e-12)
    assert sorted(np.concatenate(basis.rows)) == list(range(TESTS))
    assert max(map(len, basis.rows)) <= 4
    # Those in a block are more alike than any.
    apart = np.random.default_rng(0).permutation(np.repeat([0, 1], 8))
    two = np.where(apart[:, None] == 0, [[1.0, 0.0]], [[0.0, 1.0]]) + 1e-3 * np.arange(16)[:, None]
    monkeypatch.setattr(block_basis, "BLOCK", 8)
    assert all(len(set(apart[rows])) == 1 for rows in eigenbasis(two)[1].rows)


def test_test_examples_of_which_none_is_like_another(monkeypatch):
    np.testing.assert_array_equal(alone(5), np.eye(5))
    monkeypatch.setattr(block_basis, "MOST", 5)
    monkeypatch.setattr(block_basis, "BLOCK", 4)
    found = alone(7)
    assert isinstance(found, BlockBasis)
    np.testing.assert_array_equal(np.asarray(found), np.eye(7))
    kernel = SimilarityKernel.of(unit(7), 7)
    assert isinstance(kernel.vectors, BlockBasis)
    np.testing.assert_allclose(np.diag(kernel.cosines), 1.0)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_fit_in_one_block_is_the_fit_to_the_whole(monkeypatch, repeated, gaps):
    data, queried = world(runs=7, queried=3)
    runs = list(data.fit_runs)
    if repeated:
        first = runs[0].curriculum
        runs[1] = replace(runs[1], curriculum=replace(first, batches=first.batches[::-1]))
    if gaps:
        values = runs[2].metrics["loss"].copy()
        values[3, 1] = np.nan
        runs[2] = replace(runs[2], metrics={"loss": values})
    data = replace(data, fit_runs=tuple(runs))
    whole = ExposureGp().fit(data)
    monkeypatch.setattr(block_basis, "MOST", 1)
    blocks = ExposureGp().fit(data)
    assert isinstance(blocks.model_.kernel.vectors, BlockBasis)
    query = question(queried)
    for ours, theirs in ((whole, blocks), (ExposureGp().restore(whole.state()), ExposureGp().restore(blocks.state()))):
        one, other = ours.predict(query), theirs.predict(query)
        np.testing.assert_allclose(other.values, one.values, rtol=1e-4)
        np.testing.assert_allclose(other.intervals[0.9], one.intervals[0.9], rtol=1e-3)
    places, weights = np.arange(len(data.pool)), np.eye(len(data.test))
    vectors = {name: one.train for name, one in data.features.sets.items()}
    for ours, theirs in zip(
        whole.influence_of(places, vectors, weights), blocks.influence_of(places, vectors, weights), strict=True
    ):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5)


def test_new_test_examples_are_asked_about_beside_blocks(monkeypatch):
    monkeypatch.setattr(block_basis, "MOST", 1)
    monkeypatch.setattr(block_basis, "BLOCK", 3)
    data, queried = world(runs=7, queried=2)
    from tests.estimators.exposure_gp.worlds import of_first

    fitted = ExposureGp().fit(of_first(data, tests=6))
    predicted = fitted.predict(about(question(queried), data, tests=6))
    assert np.isfinite(predicted.values).all()
