"""Products that are read some rows at a time behave as the array that they are."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import GradientProducts, blocked_rows
from gptfl.core.blocked_products import (
    BlockedProducts,
    ChosenColumns,
    JoinedColumns,
    UnknownRows,
    all_finite,
    any_finite,
)
from tests.core.test_blocked_rows import Held

ARRAY = np.random.default_rng(0).normal(size=(2, 11, 3)).astype(np.float32)
OWN = np.ones((2, 11), np.float32)
DENSE = GradientProducts(1, np.array([0, 4]), np.ones(8), ARRAY, np.full_like(ARRAY, np.nan), OWN, OWN * np.nan)


def blocked(array):
    return BlockedProducts([Held(one) for one in array])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 4 * 3 * 4)


def test_all_of_it_is_the_array():
    found = blocked(ARRAY)
    assert (found.shape, found.dtype, found.ndim, found.size, len(found)) == (ARRAY.shape, ARRAY.dtype, 3, 66, 2)
    np.testing.assert_array_equal(np.asarray(found), ARRAY)
    np.testing.assert_array_equal(np.concatenate(list(found.blocks())), ARRAY.reshape(22, 3))
    for place, one in enumerate(found):
        np.testing.assert_array_equal(one[2:9], ARRAY[place, 2:9])
        assert found[place] is one
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(found, copy=False)


@pytest.mark.parametrize("pool", [np.arange(11), np.array([1, 4, 5, 10])])
def test_some_of_the_examples_are_theirs(pool):
    tests = np.array([2, 0])
    found = blocked(ARRAY).of_examples(pool, tests)
    np.testing.assert_array_equal(np.asarray(found), ARRAY[:, pool][:, :, tests])
    np.testing.assert_array_equal(found[1][np.array([3, 0])], ARRAY[1, pool[[3, 0]]][:, tests])
    assert ChosenColumns(Held(ARRAY[0]), tests).shape == (11, 2)


def test_numbers_are_looked_for_some_rows_at_a_time():
    gap = ARRAY.copy()
    gap[1, 10, 2] = np.nan
    for change in (blocked, lambda one: one):
        assert [all_finite(one) for one in change(gap)] == [True, False]
        assert any_finite(change(gap))
        assert not any_finite(change(np.full_like(gap, np.nan)))


def test_gradient_products_are_known_by_the_same_fingerprint_in_blocks():
    some = replace(DENSE, raw=blocked(ARRAY), preconditioned=blocked(DENSE.preconditioned))
    assert some.in_blocks
    assert not DENSE.in_blocks
    assert some.fingerprint == DENSE.fingerprint
    assert some.nbytes == DENSE.nbytes == 2 * 66 * 4
    pool, tests = np.array([0, 7]), np.array([1])
    assert some.of_examples(pool, tests).fingerprint == DENSE.of_examples(pool, tests).fingerprint
    whole = some.in_memory()
    assert not whole.in_blocks
    assert isinstance(whole.raw, np.ndarray)
    assert whole.fingerprint == DENSE.fingerprint


def test_columns_of_several_arrays_are_joined_by_their_places():
    whole = ARRAY[0]
    parts = [(Held(whole[:, [2, 0]]), np.array([2, 0])), (Held(whole[:, [1]]), np.array([1]))]
    found = JoinedColumns(parts)
    assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(np.asarray(found), whole)
    np.testing.assert_array_equal(found[3:7], whole[3:7])
    np.testing.assert_array_equal(found[[9, 2]], whole[[9, 2]])


def test_of_unknown_rows_nothing_is_known():
    found = UnknownRows((11, 3))
    assert (found[2:5].shape, found[[4, 1]].dtype) == ((3, 3), np.float32)
    assert np.isnan(np.asarray(found)).all()
    assert np.asarray(found).shape == (11, 3)
    assert not any_finite(BlockedProducts([found]))
