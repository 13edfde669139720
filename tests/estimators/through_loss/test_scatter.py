"""Bounds by what was recorded: ``gptfl.estimators.through_loss.scatter``."""

import numpy as np

from gptfl.estimators.through_loss.scatter import LEAST_IN_BIN, MOST_BINS, Scatter

LEVELS = (0.5, 0.9)


def test_each_interval_is_the_shortest_within_the_next_wider_one():
    random = np.random.default_rng(0)
    recorded = random.beta(0.5, 2.0, size=LEAST_IN_BIN)
    found = Scatter.of(np.full(LEAST_IN_BIN, 0.2), recorded, LEVELS)
    within = np.sort(recorded)
    for place, level in reversed(list(enumerate(LEVELS))):
        low, high = found.bounds[0, place]
        ends = [(a, b) for a in within for b in within if ((recorded >= a) & (recorded <= b)).mean() >= level]
        assert np.isclose(high - low, min(b - a for a, b in ends))
        assert ((recorded >= low) & (recorded <= high)).mean() >= level
        within = within[(within >= low) & (within <= high)]


def test_outcomes_at_the_ends_are_inside():
    random = np.random.default_rng(1)
    expected = random.random(4000)
    recorded = (random.random(4000) < expected).astype(np.float64)
    found = Scatter.of(expected, recorded, LEVELS)
    assert len(found.expected) == MOST_BINS
    asked = random.random(2000)
    outcome = (random.random(2000) < asked).astype(np.float64)
    for place, level in enumerate(LEVELS):
        low, high = found.at(asked, place)
        assert (low <= asked).all()
        assert (asked <= high).all()
        assert ((low <= outcome) & (outcome <= high)).mean() >= level - 0.03


def test_bins_are_of_equal_count_and_few_points_make_one():
    found = Scatter.of(np.arange(2 * LEAST_IN_BIN) / 100.0, np.zeros(2 * LEAST_IN_BIN), LEVELS)
    np.testing.assert_allclose(found.expected, [0.195, 0.595])
    assert len(Scatter.of(np.zeros(3), np.ones(3), LEVELS).expected) == 1
