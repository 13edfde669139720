"""Sizes of deviations, and how far what is expected of them counts."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.deviation_sizes import PRIOR_RUNS, SPREAD_SIZE_POWER, size_power, sizes_of


def test_sizes_lie_between_what_was_found_and_what_was_expected_by_the_number_of_runs():
    random = np.random.default_rng(0)
    truth, beforehand = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 2.0])
    few, many = (random.normal(size=(count, 3)) * truth for count in (3, 3000))
    found, _ = sizes_of(many - many.mean(axis=0), None, beforehand)
    np.testing.assert_allclose(found, truth, rtol=0.1)
    drawn, reference = sizes_of(few - few.mean(axis=0), None, beforehand)
    own = few.std(axis=0, ddof=1)
    level = np.sqrt((own**2).mean())
    assert reference * 2.0 == pytest.approx(level)
    assert ((drawn - own) * (level - own) >= 0).all()
    assert (np.abs(drawn - level) < np.abs(own - level)).all()
    none, reference = sizes_of(np.zeros((4, 3)), None, beforehand)
    assert none.tolist() == [1, 1, 1]
    assert reference == 0


def drawn(beforehand, power, runs=24, seed=0):
    """Deviations of which the standard deviations are those expected to a power."""
    values = np.random.default_rng(seed).normal(size=(runs, len(beforehand))) * beforehand**power
    return values - values.mean(axis=0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_power_of_expected_sizes_is_found(power):
    beforehand = np.exp(np.random.default_rng(1).normal(size=80))
    steps = [(drawn(beforehand, power, seed=seed), None) for seed in range(3)]
    assert size_power(steps, [beforehand] * 3) == pytest.approx(power, abs=0.12)
    # Each step has a unit of its own.
    steps = [(10.0**seed * one, known) for seed, (one, known) in enumerate(steps)]
    assert size_power(steps, [beforehand] * 3) == pytest.approx(power, abs=0.12)


def test_the_power_is_the_best_of_a_grid():
    random = np.random.default_rng(2)
    beforehand = np.exp(random.normal(size=9))
    deviations = drawn(beforehand, 0.4, runs=5, seed=3)
    known = np.ones((5, 9), dtype=bool)
    known[3:, 2] = False
    deviations[~known] = 0.0
    freedom = known.sum(axis=0) - 1
    logs = np.log((deviations**2).sum(axis=0) / freedom)

    def cost(power):
        """With the best of many units."""
        found = []
        for unit in np.linspace(-6, 6, 2401):
            apart = logs - unit - 2 * power * np.log(beforehand)
            ratio = freedom / PRIOR_RUNS * np.exp(apart)
            # The density of the logarithm of an F variable, up to a constant.
            found.append(-sum(0.5 * freedom * apart - 0.5 * (freedom + PRIOR_RUNS) * np.log1p(ratio)))
        return min(found) + 0.5 * ((power - 1.0) / SPREAD_SIZE_POWER) ** 2

    grid = np.linspace(0, 1, 101)
    best = grid[np.argmin([cost(one) for one in grid])]
    assert size_power([(deviations, known)], [beforehand]) == pytest.approx(best, abs=0.011)


def test_where_nothing_tells_sizes_are_in_proportion():
    beforehand = np.array([1.0, 2.0, 4.0])
    assert size_power([(np.zeros((3, 3)), None)], [beforehand]) == 1.0
    assert size_power([(drawn(np.ones(3), 1.0), None)], [np.ones(3)]) == 1.0
    assert size_power([], []) == 1.0
    alone = np.array([[True, True, True], [False, False, False]])
    assert size_power([(np.zeros((2, 3)), alone)], [beforehand]) == 1.0
