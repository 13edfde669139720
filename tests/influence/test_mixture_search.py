"""How many rows of each group: rounding, and moves of rows against all counts."""

from itertools import product

import numpy as np
import pytest

from gptfl.influence.mixture_search import best_counts, proportional


def test_a_share_of_the_pool_is_rounded_by_largest_remainders():
    assert proportional(np.array([10, 20, 70]), 10, 10).tolist() == [1, 2, 7]
    assert proportional(np.array([3, 3, 3]), 4, 4).tolist() == [2, 1, 1]
    # What has no room goes to the others.
    assert proportional(np.array([2, 2, 96]), 10, 6).tolist() == [2, 2, 6]
    assert proportional(np.array([1, 99]), 100, 100).tolist() == [1, 99]


class Bowl:
    """A concave objective: the nearer to a point the better."""

    def __init__(self, goal):
        self.goal = np.array(goal)

    def __call__(self, counts):
        shares = counts / counts.sum(axis=1, keepdims=True)
        return -((shares - self.goal) ** 2).sum(axis=1)


@pytest.mark.parametrize("goal", [(0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.05, 0.05, 0.9)])
@pytest.mark.parametrize("room", [(12, 12, 12), (4, 9, 6)])
def test_moves_of_rows_find_the_best_of_all_counts(goal, room):
    size, objective = 12, Bowl(goal)
    every = [one for one in product(*(range(most + 1) for most in room)) if sum(one) == size]
    truth = max(objective(np.array(every)))
    found = best_counts(objective, proportional(np.array([20, 20, 20]), size, 4), np.array(room))
    assert found.sum() == size
    assert (found <= room).all()
    assert objective(found[None])[0] == pytest.approx(truth, abs=1e-12)
