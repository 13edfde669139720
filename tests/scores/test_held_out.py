"""The runs that estimators are scored on: their test examples by task, and which of them are compared with which."""

from dataclasses import replace

import numpy as np

from gptfl.scores.held_out import HeldOut
from gptfl.scores.removals import Removals

NAN = np.nan


def held_out(**changed: object) -> HeldOut:
    """Four runs of two folds; the last ends a score earlier than the others."""
    recorded = np.arange(4 * 3 * 3, dtype=float).reshape(4, 3, 3)
    recorded[3, 2] = NAN
    steps = np.array([[0, 2, 5]] * 3 + [[0, 2, -1]])
    folds = np.array([0, 0, 1, 0])
    return replace(HeldOut(tuple("abcd"), tuple("xyz"), folds, steps, recorded, -recorded), **changed)  # type: ignore[arg-type]


def test_tasks_are_in_order_of_first_appearance() -> None:
    found = held_out(tasks=("ü", "a", "ü")).places()
    assert list(found) == ["ü", "a"]
    np.testing.assert_array_equal(found["ü"], [0, 2])
    np.testing.assert_array_equal(found["a"], [1])
    assert held_out().places() == {}


def test_a_part_has_the_same_test_examples_in_everything() -> None:
    whole = held_out(tasks=("u", "a", "u"), given=np.full((4, 3, 3), 7.0) * np.arange(3))
    part = whole.at(np.array([2, 0]))
    assert part.tests == ("z", "x")
    assert part.tasks == ()
    for run in range(4):
        for row in range(3):
            for place, own in enumerate((2, 0)):
                np.testing.assert_equal(part.recorded[run, row, place], whole.recorded[run, row, own])
                np.testing.assert_equal(part.mean_run[run, row, place], whole.mean_run[run, row, own])
    np.testing.assert_array_equal(part.given[0, 0], [14.0, 0.0])
    assert held_out().at(np.array([0])).given is None
    assert part.names == whole.names


def test_only_runs_of_one_fold_that_end_together_are_peers() -> None:
    peers = held_out().peers
    alike = peers[:, None] == peers[None]
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    np.testing.assert_array_equal(alike, expected)


def test_a_last_score_that_is_missing_is_no_end() -> None:
    """What a run lacks at its last step is not recorded: it ends where something is."""
    recorded = held_out().recorded.copy()
    recorded[1, 2] = NAN
    peers = held_out(recorded=recorded).peers
    assert peers[1] == peers[3]
    assert peers[1] != peers[0]


def test_runs_that_belong_together_are_one() -> None:
    assert held_out().independent == 4
    repeated = held_out(together=np.array([5, 5, 2, 5]))
    assert repeated.independent == 2
    weights = repeated.sampling.weights(0, draws=20)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 3])
    assert (weights[:, 0] != weights[:, 2]).any()
    assert repeated.sampling.tests == 3


def test_orders_that_training_sets_share_are_drawn_too() -> None:
    """The whole pool and three sets less a group, each in two orders, as the design leave-small has them."""
    runs = 8
    pairs = np.array([[place // 2 - 1, place, place % 2] for place in range(2, runs)])
    sets = np.arange(runs) // 2
    recorded = np.zeros((runs, 2, 3))
    steps = np.tile([0, 5], (runs, 1))
    names = tuple(map(str, range(runs)))
    made = HeldOut(names, tuple("xyz"), np.zeros(runs, dtype=int), steps, recorded, recorded, together=sets)
    assert made.sampling.orders is None
    groups = tuple(np.array([place]) for place in range(3))
    sharing = replace(made, removals=Removals(groups, pairs))
    np.testing.assert_array_equal(sharing.sampling.orders, [0, 1] * 4)
    assert sharing.at(np.array([1])).sampling.orders is not None
    # Pairs that share an order within one group alone, as those of leave-out, and sets in a single order, are drawn as ever.
    within = np.array([[place, 2 * place + 1, 2 * place] for place in range(4)])
    assert replace(made, removals=Removals((*groups, np.array([3])), within)).sampling.orders is None
    single = np.array([[place - 1, place, 0] for place in range(1, runs)])
    assert replace(made, together=None, removals=Removals(groups, single)).sampling.orders is None
