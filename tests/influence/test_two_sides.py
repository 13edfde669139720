"""What is known of two changes together."""

import math

import numpy as np
import pytest

from gptfl.influence.two_sides import BETTER, OPEN, WORSE, Gain, gains_of, probability_of_both


def test_both_above_zero_has_the_probability_of_a_quadrant():
    """Sheppard's formula: 1/4 + arcsin(ρ) / 2π where both means are 0."""
    tied = np.array([-0.99, -0.5, 0.0, 0.5, 0.9, 1.0])
    nothing, ones = np.zeros(len(tied)), np.ones(len(tied))
    found = probability_of_both(nothing, nothing, ones, 2 * ones, tied)
    np.testing.assert_allclose(found, 0.25 + np.arcsin(tied) / (2 * math.pi), atol=1e-3)


def test_without_correlation_probabilities_multiply():
    mean, other = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.2, -3.0])
    found = probability_of_both(mean, other, np.full(3, 0.5), np.full(3, 2.0), np.zeros(3))

    def alone(value, spread):
        return 0.5 * math.erfc(-value / spread / math.sqrt(2))

    truth = [alone(one, 0.5) * alone(two, 2.0) for one, two in zip(mean, other, strict=True)]
    np.testing.assert_allclose(found, truth, atol=1e-4)


def test_correlated_pairs_are_counted_as_draws_are():
    random = np.random.default_rng(0)
    mean, covariance = np.array([0.4, -0.2]), np.array([[1.0, -0.6], [-0.6, 0.8]])
    draws = random.multivariate_normal(mean, covariance, size=200_000)
    truth = (draws > 0).all(axis=1).mean()
    spread = np.sqrt(covariance.diagonal())
    tied = covariance[0, 1] / spread.prod()
    found = probability_of_both(mean[:1], mean[1:], spread[:1], spread[1:], np.array([tied]))
    assert found[0] == pytest.approx(truth, abs=0.005)


def test_what_is_known_exactly_is_certain():
    found = probability_of_both(np.array([1.0, -1.0]), np.array([1.0, 1.0]), np.zeros(2), np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-6)


def test_verdicts_go_by_the_interval():
    assert [one.verdict for one in (Gain(1, 0.5, 2), Gain(-1, -2, -0.1), Gain(1, -1, 3), Gain(1))] == [
        BETTER,
        WORSE,
        OPEN,
        OPEN,
    ]


def test_gains_have_the_intervals_of_the_reach():
    mean, covariance = np.array([0.2, 0.1]), np.array([[0.04, 0.01], [0.01, 0.09]])
    gain, retained, both = gains_of(mean, covariance, 2.0)
    assert (gain.low, gain.high) == pytest.approx((-0.2, 0.6))
    assert (retained.low, retained.high) == pytest.approx((-0.5, 0.7))
    wide = np.sqrt(covariance.diagonal()) * 2.0 / 1.6448536
    tied = np.array([0.01 / 0.06])
    assert both == pytest.approx(float(probability_of_both(mean[:1], mean[1:], wide[:1], wide[1:], tied)[0]), abs=1e-6)
