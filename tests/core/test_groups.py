import numpy as np
import pytest

from gptfl.core import groups_of_batches, joined
from gptfl.core.curriculum import draw_subset, fill_batches
from gptfl.designs.draws import LEAVE_OUT, REPEATED, UNIFORM, DesignLayout, draw_runs

NONE = np.empty(0, dtype=np.int64)


def drawn(design, runs):
    layout = DesignLayout(design, 40, 8, 3, NONE, swapped=2)
    return [draw.batches(4, 12) for draw in draw_runs(layout, runs)]


@pytest.mark.parametrize(("design", "size"), [(UNIFORM, 1), (LEAVE_OUT, 2), (REPEATED, 4)])
def test_curricula_alone_tell_which_runs_a_design_holds_together(design, size):
    np.testing.assert_array_equal(groups_of_batches(drawn(design, 24)), np.arange(24) // size)


def test_the_same_examples_in_another_order_or_shape_are_a_group():
    subsets = [draw_subset(30, 8, seed) for seed in range(3)]
    batches = [fill_batches(subsets[n % 3], 2 + n // 3, 10, 50 + n) for n in range(9)]
    np.testing.assert_array_equal(groups_of_batches(batches), [0, 1, 2] * 3)


def test_empty_places_make_no_pair():
    batches = [np.array([[n, n + 1], [-1, -1], [-1, -1]]) for n in range(4)]
    np.testing.assert_array_equal(groups_of_batches(batches), np.arange(4))
    np.testing.assert_array_equal(groups_of_batches([np.full((2, 2), -1), np.array([[0, 1], [2, 3]])]), [0, 1])


def test_what_all_runs_share_tells_nothing():
    # All on the whole pool: only the order is varied.
    orders = [fill_batches(np.arange(8), 4, 12, seed) for seed in range(5)]
    np.testing.assert_array_equal(groups_of_batches(orders), np.arange(5))
    # One run, with another example in the places of each in turn: every run is a question of its own.
    base = fill_batches(np.arange(8), 4, 12, 0)
    out = [np.where(base == left, 8 + left, base) for left in range(8)]
    np.testing.assert_array_equal(groups_of_batches(out), np.arange(8))
    # Two orders of each of these belong together all the same.
    twice = [*out, *(one[::-1].copy() for one in out)]
    np.testing.assert_array_equal(groups_of_batches(twice), [*range(8), *range(8)])


def test_groups_join_through_each_other():
    assert joined([0, 0, 1, 1, 2], [0, 1, 2, 0, 3]) == [0, 0, 0, 0, 2]
    assert joined([3, 4, 5], [0, 1, 2]) == [3, 4, 5]
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.integers(0, 6, size=(2, 9)).tolist()
        found = joined(first, second)
        reach = np.equal.outer(first, first) | np.equal.outer(second, second)
        for _ in range(4):
            reach = (reach.astype(int) @ reach) > 0
        np.testing.assert_array_equal(np.equal.outer(found, found), reach)
        assert found == [min(np.array(first)[row]) for row in reach]


def test_no_run_and_one_run():
    assert groups_of_batches([]).tolist() == []
    assert groups_of_batches([np.array([[0, 1]])]).tolist() == [0]


def test_runs_over_the_whole_pool_are_not_one_group_for_a_few_that_are_not() -> None:
    random = np.random.default_rng(0)
    whole = [random.permutation(64).reshape(4, 16) for _ in range(7)]
    parts = [np.arange(64).reshape(4, 16) % 32]
    assert groups_of_batches([*whole, *parts]).tolist() == list(range(8))
    assert groups_of_batches([*whole[:2], *parts]).tolist() == [0, 0, 1]
