"""How held-out runs are drawn: by group, with as much freedom as a score has."""

import numpy as np
import pytest

from gptfl.scores import bootstrap
from gptfl.scores.sampling import RunDraws, Sampling


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


def crossed(sets: int, orders: int) -> Sampling:
    """Runs of several training sets, each in the same orders."""
    units, own = np.divmod(np.arange(sets * orders), orders)
    return Sampling(units, np.zeros(len(units), dtype=np.int64), 1, own)


def test_sets_and_orders_are_drawn_apart_and_a_run_counts_as_often_as_both() -> None:
    sampling = crossed(6, 2)
    draws = sampling.draws(5)
    assert draws.orders is not None
    assert (draws.freedom, draws.order_freedom) == (5, 1)
    np.testing.assert_array_equal(draws.units, sampling.weights(5))
    np.testing.assert_array_equal(draws.orders[:, 0], draws.orders[:, 4])
    assert set(draws.orders[:, 0] + draws.orders[:, 1]) == {2.0}
    part, whole = np.random.default_rng(0).uniform(0.5, 0.9, 12), np.random.default_rng(1).uniform(1, 2, 12)
    part[::2] -= 0.1
    value = part.sum() / whole.sum()
    found, of_sets, of_orders = [], [], []
    for units, orders in zip(draws.units, draws.orders, strict=True):
        sums = [(one @ part, one @ whole) for one in (units * orders, units, orders)]
        for kept, (above, below) in zip((found, of_sets, of_orders), sums, strict=True):
            kept.append(above / below)
    apart = np.var(of_sets), np.var(of_orders)
    freedom = max(1, int(sum(apart) ** 2 / (apart[0] ** 2 / 5 + apart[1] ** 2)))
    expected = value + bootstrap.widening(freedom) * (np.quantile(found, [0.025, 0.975]) - value)
    assert draws.interval(part, whole) == pytest.approx(tuple(expected))


def test_orders_that_differ_widen_the_interval_and_those_that_do_not_leave_it() -> None:
    sampling = crossed(13, 2)
    draws, alone = sampling.draws(3), RunDraws(sampling.weights(3), 12)
    each = np.random.default_rng(2).normal(0.8, 0.05, 13).repeat(2)
    whole = np.ones(26)
    assert draws.interval(each, whole) == pytest.approx(alone.interval(each, whole), abs=0.02)
    apart = each + np.tile([0.1, -0.1], 13)
    # A set has both orders, so that draws of sets know nothing of what an order does.
    assert alone.interval(apart, whole) == pytest.approx(alone.interval(each, whole))
    low, high = draws.interval(apart, whole)
    assert low < 0.8 - 0.3
    assert high > 0.8 + 0.3


def test_brackets_hold_the_share_more_often_where_runs_share_orders() -> None:
    """Over made-up recordings of 13 sets in two orders that differ, intervals of sets alone hold less than they say."""
    random, whole = np.random.default_rng(0), np.ones(26)
    sampling = crossed(13, 2)
    draws = sampling.draws(1, draws=400)
    alone, hits = RunDraws(draws.units, 12), np.zeros(2)
    for _ in range(200):
        shares = 0.8 + 0.03 * random.normal(size=(13, 2)) + 0.04 * random.normal(size=2)
        for place, one in enumerate((alone, draws)):
            low, high = one.interval(shares.reshape(-1), whole)
            hits[place] += low <= 0.8 <= high
    assert hits[0] / 200 < 0.6
    assert hits[1] / 200 > 0.8
