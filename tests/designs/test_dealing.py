"""Dealing: equal parts of groups, and counts that never drift apart."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptfl.core.curriculum import generator
from gptfl.designs.dealing import Dealer, draw_evenly, even_parts


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_parts_are_as_even_as_the_groups_allow(sizes, data):
    total = data.draw(st.integers(0, sum(sizes)))
    parts = even_parts(np.array(sizes), total)
    assert parts.sum() == total
    assert (parts <= sizes).all()
    # Only a group that has given all it has may have given less than another, but for one that didn't divide.
    unspent = parts[parts < np.array(sizes)]
    assert not len(unspent) or parts.max() - unspent.min() <= 1


@given(st.integers(1, 20), st.integers(0, 3), st.integers(0, 2**31), st.data())
def test_each_example_is_dealt_about_as_often_as_any_other(pool, classes, seed, data):
    size = data.draw(st.integers(1, pool))
    groups = np.arange(pool) % classes if classes else None
    dealer, counts = Dealer(pool, groups), np.zeros(pool, dtype=int)
    parts = set()
    for deal in range(9):
        dealt = dealer.deal(np.arange(pool), size, generator(seed, deal))
        assert len(np.unique(dealt)) == len(dealt) == size
        counts[dealt] += 1
        for group in range(classes or 1):
            own = counts if groups is None else counts[groups == group]
            assert not len(own) or own.max() - own.min() <= 1
        parts.add(tuple(np.bincount(dealt % (classes or 1), minlength=classes or 1)))
    assert len(parts) == 1
    np.testing.assert_array_equal(dealer.counts, counts)


@given(st.integers(2, 24), st.integers(0, 2**31), st.data())
def test_pairs_are_dealt_evenly_too(pool, seed, data):
    size = data.draw(st.integers(1, pool - 1))
    swapped = data.draw(st.integers(0, min(size, pool - size)))
    dealer, counts = Dealer(pool), np.zeros(pool, dtype=int)
    for deal in range(9):
        first, swaps = dealer.deal_pair(np.arange(pool), size, swapped, generator(seed, deal))
        assert set(swaps[:, 0]) <= set(first)
        second = np.concatenate([np.setdiff1d(first, swaps[:, 0]), swaps[:, 1]])
        for run in (first, second):
            assert len(np.unique(run)) == len(run) == size
            counts[run] += 1
        assert np.ptp(counts) <= 2


def test_a_choice_has_equal_parts_of_every_group():
    groups = np.array([0] * 10 + [1] * 4 + [2] * 2)
    chosen = draw_evenly(9, groups, 16, (3, 1))
    assert np.bincount(groups[chosen]).tolist() == [4, 3, 2]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert draw_evenly(9, groups, 16, (3, 1)).tolist() == chosen.tolist()
    assert draw_evenly(9, groups, 16, (4, 1)).tolist() != chosen.tolist()
    assert len(draw_evenly(5, None, 16, (3, 1))) == 5
