"""How held-out runs are drawn: by group, with as much freedom as a score has."""

import numpy as np
import pytest

from gptfl.scores import bootstrap
from gptfl.scores.sampling import Sampling


def each_its_own(runs: int, tests: int = 4) -> Sampling:
    return Sampling(np.arange(runs), np.zeros(runs, dtype=np.int64), tests)


def test_each_sample_holds_as_many_groups_as_there_are() -> None:
    units = np.array([3, 3, 8, 9])
    weights = Sampling(units, np.zeros(4, dtype=np.int64), 1).weights(1, draws=50)
    assert weights.shape == (50, 4)
    first = [int(np.flatnonzero(units == unit)[0]) for unit in (3, 8, 9)]
    assert all(sum(row[first]) == 3 for row in weights)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights, Sampling(units, np.zeros(4, dtype=np.int64), 1).weights(1, draws=50))


def test_lds_has_one_degree_of_freedom_less_for_each_of_its_groups() -> None:
    peers = np.array([0, 0, 0, 1, 1, 2])
    sampling = Sampling(np.arange(6), peers, 4)
    assert sampling.freedom("mse") == 5
    # A run without a peer is no part of LDS; three and two are left, each with its own mean.
    assert sampling.freedom("lds") == (3 - 1) + (2 - 1)
    together = Sampling(np.array([0, 0, 1, 2, 3, 4]), peers, 4)
    assert together.freedom("mse") == 4
    assert together.freedom("lds") == (2 - 1) + (2 - 1)


@pytest.mark.parametrize("score", ["mse", "skill", "lds"])
def test_draws_of_the_true_value_have_the_intervals_ends_as_quantiles(score: str) -> None:
    sampling = each_its_own(12)
    draws = np.random.default_rng(0).uniform(0.2, 0.8, size=1001)
    low, high = sampling.interval(score, 0.5, draws)
    assert low < 0.5 < high
    moved = sampling.moved(score, 0.5, draws)
    # On a scale that isn't even, quantiles between two draws lie between their values.
    np.testing.assert_allclose(np.quantile(moved, [0.025, 0.975], method="nearest"), [low, high], atol=5e-3)


def test_the_same_draws_are_not_different_and_a_shift_beyond_their_spread_is() -> None:
    sampling = each_its_own(12)
    draws = np.random.default_rng(1).normal(1.0, 0.1, size=500)
    noise = np.random.default_rng(2).normal(0.0, 0.1, size=500)
    assert not sampling.differs("mse", (1.0, draws), (1.0, draws))
    assert not sampling.differs("mse", (1.0, draws), (1.05, draws + noise))
    assert sampling.differs("mse", (1.0, draws), (2.0, draws + 1 + noise))
    # Paired: each draw is of the same runs, so that a small but constant difference is clear.
    assert sampling.differs("mse", (1.0, draws), (1.05, draws + 0.05))


def test_fewer_runs_give_wider_intervals() -> None:
    draws = np.random.default_rng(3).normal(size=400)
    reach = [each_its_own(runs).interval("mae", 0.0, draws)[1] for runs in (3, 10, 1000)]
    assert reach == sorted(reach, reverse=True)
    assert reach[2] == pytest.approx(np.quantile(draws, 0.975), rel=0.01)
    assert each_its_own(1).interval("mae", 0.0, draws) == (-np.inf, np.inf)
    assert bootstrap.widening(2) > bootstrap.widening(9) > 1
