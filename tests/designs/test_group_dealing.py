"""Groups are dealt to runs so that every beginning is about balanced and few runs tell them apart."""

import itertools
from collections import Counter
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.designs.group_dealing import GroupDealer, proportional_parts


def sets_of(groups, runs, seed=0):
    random = np.random.default_rng(seed)
    dealer = GroupDealer(np.arange(groups), groups)
    return [tuple(dealer.choose(random).tolist()) for _ in range(runs)]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 15), st.integers(0, 2**32))
def test_whenever_recording_stops_every_group_was_in_about_as_many_runs(groups, seed):
    times = np.zeros(groups, dtype=int)
    for run, chosen in enumerate(sets_of(groups, 14, seed)):
        assert len(set(chosen)) == len(chosen) == (groups + (run % 2 == 0)) // 2
        times[list(chosen)] += 1
        assert np.ptp(times) <= 2


@pytest.mark.parametrize("groups", [4, 5, 6, 7])
def test_no_set_comes_again_while_others_are_left(groups):
    sizes = {groups // 2, (groups + 1) // 2}
    all_sets = sum(comb(groups, size) for size in sizes)
    made = sets_of(groups, 2 * all_sets)
    assert set(Counter(made[:all_sets]).values()) == {1}
    assert set(Counter(made).values()) == {2}


def test_two_groups_take_turns_and_the_second_run_shares_less_than_it_has_new():
    made = sets_of(2, 6)
    assert set(made) == {(0,), (1,)}
    assert all(one != other for one, other in itertools.pairwise(made))
    for groups in range(3, 20):
        first, second = map(set, sets_of(groups, 2))
        assert len(first & second) <= len(second - first)


@pytest.mark.parametrize(("groups", "runs"), [(4, 4), (5, 6), (6, 8), (8, 8), (12, 12), (16, 16)])
def test_about_as_many_runs_as_groups_tell_all_of_them_apart(groups, runs):
    held = np.zeros((runs, groups))
    for run, chosen in enumerate(sets_of(groups, runs)):
        held[run, list(chosen)] = 1
    centred = held - held.mean(axis=0)
    assert np.linalg.matrix_rank(centred - centred.mean(axis=1, keepdims=True)) >= groups - 2
    # Complements in pairs would tell half as many.
    six = centred[: min(6, runs)] - centred[: min(6, runs)].mean(axis=0)
    assert np.linalg.matrix_rank(six) > 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_parts_are_in_proportion_and_none_is_empty(sizes, data):
    sizes = np.array(sizes)
    total = data.draw(st.integers(len(sizes), int(sizes.sum())))
    parts = proportional_parts(sizes, total)
    assert parts.sum() == total
    assert (parts >= 1).all()
    assert (parts <= sizes).all()
    exact = sizes * total / sizes.sum()
    assert (np.abs(parts - exact)[exact >= 1] <= len(sizes)).all()
    if (exact >= 1).all():
        assert (np.abs(parts - exact) < 1).all()


def test_rows_are_dealt_in_proportion_and_evenly_within_each_group():
    groups = np.repeat([0, 1, 2, 3], [4, 8, 12, 16])
    dealer, random = GroupDealer(groups, 10), np.random.default_rng(3)
    counts = np.zeros(40, dtype=int)
    for _ in range(20):
        dealt = dealer.deal(random)
        assert len(set(dealt.tolist())) == 10
        counts[dealt] += 1
        present, parts = np.unique(groups[dealt], return_counts=True)
        sizes = np.bincount(groups)[present]
        np.testing.assert_allclose(parts, 10 * sizes / sizes.sum(), atol=0.51)
        assert all(np.ptp(counts[groups == group]) <= 1 for group in range(4))


def test_a_run_whose_groups_have_fewer_rows_has_all_of_them():
    groups = np.repeat([0, 1], [30, 3])
    dealer, random = GroupDealer(groups, 16), np.random.default_rng(0)
    assert sorted(len(dealer.deal(random)) for _ in range(4)) == [3, 3, 16, 16]


def test_the_same_seed_deals_alike_and_another_does_not():
    assert sets_of(14, 8, 1) == sets_of(14, 8, 1) != sets_of(14, 8, 2)
    assert sets_of(14, 4, 1) == sets_of(14, 8, 1)[:4]
