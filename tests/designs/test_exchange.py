"""Choosing runs by what they tell: against a dense normal posterior in plain loops, and against random subsets."""

import math

import numpy as np
import pytest

from gptfl.core.outlook import RunOutlook
from gptfl.designs.exchange import Knowledge, choose_subsets

POOL, SIZE, TIMES, LEVEL = 9, 3, 2.0, 0.25


def outlook(seed: int = 0, reach: float = 1e9) -> tuple[RunOutlook, np.ndarray]:
    """An outlook, and the joint covariance of the influences, the effects of members and the level, in this order."""
    random = np.random.default_rng(seed)
    half = random.normal(size=(2 * POOL, 2 * POOL)) / 6
    joint = np.zeros((2 * POOL + 1, 2 * POOL + 1))
    joint[: 2 * POOL, : 2 * POOL] = half @ half.T
    joint[-1, -1] = LEVEL
    members = joint[POOL : 2 * POOL, POOL : 2 * POOL]
    found = RunOutlook(joint[:POOL, POOL : 2 * POOL], members, joint.diagonal()[:POOL], LEVEL, members, reach)
    return found, joint


def dense_variances(joint: np.ndarray, subsets: list[np.ndarray]) -> np.ndarray:
    """The variances of the influences after runs of these subsets, by solving for all of them at once."""
    observed = np.zeros((len(subsets), len(joint)))
    for run, subset in enumerate(subsets):
        for member in subset:
            observed[run, POOL + member] += TIMES
        observed[run, -1] = 1.0
    found = np.zeros(POOL)
    noisy = np.zeros((len(subsets), len(subsets)))
    for one in range(len(subsets)):
        for other in range(len(subsets)):
            noisy[one, other] = observed[one] @ joint @ observed[other] + (one == other)
    for row in range(POOL):
        cross = np.array([joint[row] @ run for run in observed])
        found[row] = joint[row, row] - cross @ np.linalg.solve(noisy, cross)
    return found


def test_information_and_what_is_known_after_are_those_of_the_dense_posterior() -> None:
    known, joint = outlook()
    rows = np.array([0, 2, 5])
    knowledge, subsets = Knowledge.of(known, rows, TIMES), []
    for subset in (np.array([1, 2, 3]), np.array([2, 7, 8]), np.array([0, 1, 6])):
        before = dense_variances(joint, subsets)[rows] if subsets else joint.diagonal()[rows]
        told = knowledge.information(subset)
        subsets.append(subset)
        after = dense_variances(joint, subsets)[rows]
        assert told == pytest.approx(sum(0.5 * math.log(b / a) for b, a in zip(before, after, strict=True)))
        knowledge.learn(subset)
        np.testing.assert_allclose(knowledge.variances, after)


def test_chosen_subsets_tell_more_than_random_ones() -> None:
    random = np.random.default_rng(5)
    for seed in range(5):
        known, _ = outlook(seed)
        rows = np.arange(0, POOL, 2)
        (chosen,) = choose_subsets(known, rows, count=1, size=SIZE, times=TIMES, seed=seed)
        knowledge = Knowledge.of(known, rows, TIMES)
        told = [knowledge.information(random.permutation(POOL)[:SIZE]) for _ in range(50)]
        assert knowledge.information(chosen) >= np.quantile(told, 0.95)


def test_a_member_is_exchanged_for_the_best_one() -> None:
    known, _ = outlook(3)
    knowledge = Knowledge.of(known, np.arange(POOL), TIMES)
    found, told = knowledge.exchanged(np.array([0, 1, 2]), None, np.random.default_rng(0))
    assert told == pytest.approx(knowledge.information(found))
    for place in range(SIZE):
        for other in np.setdiff1d(np.arange(POOL), found):
            swapped = found.copy()
            swapped[place] = other
            assert knowledge.information(swapped) <= told * (1 + 1e-6)


def test_no_exchange_takes_a_run_further_than_those_recorded() -> None:
    rows, begun, further = np.arange(POOL), np.array([0, 1, 2]), []
    for seed in range(6):
        far, _ = outlook(seed)
        start = Knowledge.of(far, rows, TIMES).departure(begun)
        for reach in (0.0, 1.2 * start):
            near, _ = outlook(seed, reach)
            knowledge = Knowledge.of(near, rows, TIMES)
            found, _ = knowledge.exchanged(begun, None, np.random.default_rng(0))
            assert knowledge.departure(found) <= max(reach, start) * (1 + 1e-9)
        free, _ = Knowledge.of(far, rows, TIMES).exchanged(begun, None, np.random.default_rng(0))
        further.append(knowledge.departure(free) > 1.2 * start)
    assert any(further)


def test_rows_come_about_equally_often_those_first_that_were_in_fewest_runs() -> None:
    known, _ = outlook()
    dealt = np.array([1, 1, 0, 1, 0, 1, 0, 1, 1])
    chosen = choose_subsets(known, np.arange(POOL), count=4, size=SIZE, times=TIMES, seed=0, dealt=dealt)
    np.testing.assert_array_equal(chosen[0], [2, 4, 6])
    counts = dealt + np.bincount(np.concatenate(chosen), minlength=POOL)
    assert np.ptp(counts) <= 1
    assert dealt.sum() == 6


def test_runs_follow_from_the_seed_and_their_numbers() -> None:
    known, _ = outlook()
    given = {"size": SIZE, "times": TIMES, "seed": 4}
    rows = np.arange(POOL)
    four = choose_subsets(known, rows, count=4, **given)
    two = choose_subsets(known, rows, count=2, **given)
    np.testing.assert_array_equal(four[:2], two)
    assert all(len(np.unique(one)) == SIZE for one in four)
    assert len({one.tobytes() for one in four}) > 1


def test_subsets_have_equal_parts_of_each_group_and_allowed_places_alone() -> None:
    known, _ = outlook()
    groups, allowed = np.arange(POOL) % 3, np.arange(1, POOL)
    for subset in choose_subsets(
        known, np.arange(POOL), count=3, size=SIZE, times=TIMES, seed=0, groups=groups, allowed=allowed
    ):
        assert sorted(groups[subset]) == [0, 1, 2]
        assert 0 not in subset


def test_where_a_subset_is_the_whole_pool_there_is_nothing_to_exchange() -> None:
    known, _ = outlook()
    (found,) = choose_subsets(known, np.array([1]), count=1, size=POOL, times=TIMES, seed=0)
    np.testing.assert_array_equal(found, np.arange(POOL))
