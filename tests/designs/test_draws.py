"""Designs: what every run is trained on, that beginnings are balanced and more runs change none of the first."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptfl.core import FIT, REPEAT, TEST, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, run_seed
from gptfl.designs.draws import (
    DESIGNS,
    NEXT_FROM,
    REPEATS_FROM,
    DesignLayout,
    draw_next,
    draw_repeats,
    draw_runs,
    draws_reserved,
    refill,
)

NONE = np.array([], dtype=np.int64)
RESERVED = np.array([1, 2, 5, 8, 13, 14, 20, 21])


def layout(design, pool=36, subset=8, seed=5, reserved=NONE, swapped=2):
    thirds = np.arange(pool) % 3
    reserved = np.array(reserved, dtype=np.int64)
    return DesignLayout(design, pool, subset, seed, reserved, thirds, swapped, groups=thirds)


def seen(run):
    return seen_in(run.batches(4, 2 * len(run.members)))


def seen_in(batches):
    return set(batches[batches >= 0].tolist())


@given(st.integers(2, 40), st.integers(0, 2**40), st.integers(1, 12), st.data())
def test_the_uniform_design_is_what_it_always_was(pool, seed, runs, data):
    subset = data.draw(st.integers(1, pool))
    for run in draw_runs(layout("uniform", pool, subset, seed), runs):
        own = run_seed(seed, run.index)
        members = draw_subset(pool, subset, own)
        assert (run.seed, run.role) == (own, role_of(run.index))
        np.testing.assert_array_equal(run.batches(4, 9), fill_batches(members, 4, 9, own))


@pytest.mark.parametrize("reserved", [NONE, RESERVED])
@pytest.mark.parametrize("design", DESIGNS)
def test_more_runs_and_more_repeats_change_none_of_the_first(design, reserved):
    few, many = (draw_runs(layout(design, reserved=reserved), runs) for runs in (7, 30))
    for first, second in zip(few, many, strict=False):
        assert (first.index, first.seed, first.role) == (second.index, second.seed, second.role)
        np.testing.assert_array_equal(first.batches(4, 12), second.batches(4, 12))
    for first, second in zip(draw_repeats(few, 4, 5), draw_repeats(many, 7, 5), strict=False):
        assert (first.index, first.seed, first.role) == (second.index, second.seed, second.role)
        np.testing.assert_array_equal(first.batches(4, 12), second.batches(4, 12))


@given(st.sampled_from(["contrast", "balanced", "leave-out"]), st.integers(0, 2**31), st.booleans())
def test_every_beginning_is_about_balanced(design, seed, reserve):
    made = draw_runs(layout(design, seed=seed, reserved=RESERVED if reserve else NONE), 20)
    counts = np.zeros(36, dtype=int)
    parts = [RESERVED, np.setdiff1d(np.arange(36), RESERVED)] if reserve else [np.arange(36)]
    if design == "balanced":  # an example of a small class has to come oftener than one of a large class
        parts = [part[part % 3 == one] for part in parts for one in range(3)]
    for run in made:
        assert len(seen(run)) == 8
        counts[list(seen(run))] += 1
        for part in parts:
            assert np.ptp(counts[part]) <= (3 if design == "leave-out" else 1)


def test_consecutive_contrast_runs_share_no_example_until_all_were_seen():
    made = draw_runs(layout("contrast", pool=40), 5)
    assert len(set.union(*map(seen, made))) == 40


@pytest.mark.parametrize(("subset", "shares"), [(9, [3, 3, 3]), (8, [3, 3, 2])])
def test_classes_have_the_same_shares_in_every_balanced_run(subset, shares):
    for reserved in (NONE, RESERVED):
        made = [run for run in draw_runs(layout("balanced", subset=subset), 20) if reserved is NONE or run.role == FIT]
        for run in made:
            assert np.bincount([member % 3 for member in seen(run)]).tolist() == shares
    assert any(
        np.bincount([member % 3 for member in seen(run)], minlength=3).tolist() != [3, 3, 3]
        for run in draw_runs(layout("contrast", subset=9), 20)
    )


@pytest.mark.parametrize("reserved", [NONE, RESERVED])
def test_leave_out_pairs_differ_in_the_group_alone(reserved):
    made = draw_runs(layout("leave-out", reserved=reserved), 24)
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert (first.seed, first.role) == (second.seed, second.role)
        one, other = first.batches(4, 12), second.batches(4, 12)
        dropped, new = second.swaps.T
        assert set(dropped) == seen(first) - seen(second)
        assert set(new) == seen(second) - seen(first)
        np.testing.assert_array_equal(one == other, ~np.isin(one, dropped))
        for gone, come in second.swaps:
            np.testing.assert_array_equal(other == come, one == gone)
        if first.role == TEST and len(reserved):
            assert {*dropped, *new} <= set(RESERVED)


def test_leave_small_runs_have_the_whole_pool_less_a_group_in_the_same_orders():
    made = draw_runs(layout("leave-small", swapped=4), 20)
    wholes = [run.batches(4, 27) for run in made[:2]]
    assert all(seen_in(whole) == set(range(36)) for whole in wholes)
    assert not np.array_equal(*wholes)
    left = []
    for first, second in zip(made[2::2], made[3::2], strict=True):
        assert first.role == second.role
        assert set(first.without) == set(second.without)
        left.append(set(first.without))
        for run, whole in zip((first, second), wholes, strict=True):
            batches = run.batches(4, 27)
            kept = ~np.isin(whole, run.without)
            np.testing.assert_array_equal(batches[kept], whole[kept])
            assert (batches >= 0).all()
            assert seen_in(batches) == set(range(36)) - set(run.without)
    # Nine groups of four are the pool: each example is left out once.
    assert set.union(*left) == set(range(36))
    assert all(len(group) == 4 for group in left)


def test_others_take_the_places_of_a_group_about_equally_often_and_none_comes_twice_into_a_batch():
    whole = fill_batches(np.arange(12), 4, 60, 3)
    for group in ([0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]):
        batches = refill(whole, np.array(group), 5)
        kept = ~np.isin(whole, group)
        np.testing.assert_array_equal(batches[kept], whole[kept])
        assert all(len(set(batch)) == 4 for batch in batches.tolist())
        counts = np.bincount(batches[~kept], minlength=12)
        assert not counts[group].any()
        assert np.ptp(counts[len(group) :]) <= 4
    np.testing.assert_array_equal(refill(whole, np.array([0, 1]), 5), refill(whole, np.array([0, 1]), 5))
    assert not np.array_equal(refill(whole, np.array([0, 1]), 5), refill(whole, np.array([0, 1]), 6))


def test_where_others_are_too_few_they_come_twice_and_empty_places_stay_empty():
    whole = np.array([[0, 1, 2], [2, 1, -1]])
    np.testing.assert_array_equal(refill(whole, np.array([1, 2]), 0), [[0, 0, 0], [0, 0, -1]])


def test_leave_small_takes_a_planted_group_out_as_a_whole_and_then_as_many_others():
    planted = np.array([3, 4, 11, 30, 31])
    made = draw_runs(replace(layout("leave-small"), planted=planted), 12)
    assert set(made[2].without) == set(made[3].without) == set(planted)
    assert len(made[4].without) == 5
    assert not set(made[4].without) & set(planted)
    assert all(len(run.without) == 2 for run in made[6:])


def test_runs_by_groups_hold_rows_of_one_group_or_two_of_three_in_turns():
    made = draw_runs(layout("groups", pool=36, subset=14), 12)
    assert [len({member % 3 for member in seen(run)}) for run in made] == [2, 1] * 6
    assert [len(run.members) for run in made] == [14, 12] * 6  # a group alone has twelve
    assert [(run.seed, run.role) for run in made] == [(run_seed(5, run.index), role_of(run.index)) for run in made]
    counts = np.bincount(np.concatenate([run.members for run in made]), minlength=36)
    assert all(np.ptp(counts[group::3]) <= 1 for group in range(3))


@pytest.mark.parametrize("design", sorted(set(DESIGNS) - {"leave-small", "groups"}))
def test_only_runs_to_test_draw_from_the_reserve(design):
    made = [run for run in draw_runs(layout(design, reserved=RESERVED), 72) if run.role != REPEAT]
    for run in made:
        assert len(seen(run) & set(RESERVED)) == (4 if run.role == TEST else 0)
        assert len(seen(run)) == 8
    drawing = [run for run in made if run.role == TEST]
    assert len(drawing) == len(made) // 3
    assert len({frozenset(seen(run) & set(RESERVED)) for run in drawing}) > 1


@pytest.mark.parametrize("folds", [2, 3, 4, 5, 6])
def test_every_fold_has_runs_that_draw_from_the_reserve_and_runs_that_do_not(folds):
    for fold in range(folds):
        assert {draws_reserved(unit) for unit in range(36) if unit % folds == fold} == {True, False}


def test_the_repeat_design_has_each_subset_in_three_orders_and_one_of_them_twice():
    made = draw_runs(layout("repeat"), 12)
    for base, *others, same in (made[k : k + 4] for k in (0, 4, 8)):
        assert [run.role for run in (*others, same)] == [REPEAT] * 3
        assert all(seen(run) == seen(base) for run in (*others, same))
        orders = [run.batches(4, 12) for run in (base, *others)]
        assert all(not np.array_equal(a, b) for i, a in enumerate(orders) for b in orders[:i])
        np.testing.assert_array_equal(same.batches(4, 12), base.batches(4, 12))
        assert same.seed == base.seed
    assert [run.role for run in made[::4]] == [role_of(block) for block in range(3)]


def test_repeats_repeat_the_first_runs():
    made = draw_runs(layout("contrast"), 24)
    repeats = draw_repeats(made, 8, 5)
    assert [run.index for run in repeats] == list(range(REPEATS_FROM, REPEATS_FROM + 8))
    assert {run.role for run in repeats} == {REPEAT}
    of = [0, 1, 2, 0, 3, 4, 5, 1]
    for number, (run, original) in enumerate(zip(repeats, of, strict=True)):
        assert seen(run) == seen(made[original])
        same = np.array_equal(run.batches(4, 12), made[original].batches(4, 12))
        assert same == (number % 4 == 3) == (run.seed == made[original].seed)


def test_chosen_runs_are_to_fit_and_have_numbers_and_seeds_of_their_own():
    members = [np.array([1, 4]), np.array([2, 3])]
    first, second = draw_next(members, 5)
    assert (first.index, second.index) == (NEXT_FROM, NEXT_FROM + 1)
    assert first.role == second.role == FIT
    assert first.seed != second.seed
    assert draw_next(members[:1], 5)[0].seed == first.seed
    np.testing.assert_array_equal(np.unique(second.batches(2, 4)), members[1])
