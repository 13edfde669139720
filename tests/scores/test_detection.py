import itertools

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.scores.detection import detect, found_shares, perfect_shares

RANDOM = np.random.default_rng(3)


def test_the_curve_is_what_counting_gives() -> None:
    flipped = RANDOM.random(40) < 0.4
    suspicion = RANDOM.normal(size=40)
    order = sorted(range(40), key=lambda i: -suspicion[i])
    counted = [sum(flipped[i] for i in order[:k]) / flipped.sum() for k in range(41)]
    found = detect(suspicion, flipped)
    np.testing.assert_allclose(found.found, counted)
    np.testing.assert_allclose(found.checked, np.arange(41) / 40)
    assert found.found_at(0.5) == pytest.approx(counted[20])


def test_the_area_is_the_chance_to_check_a_flip_before_another() -> None:
    flipped = RANDOM.random(30) < 0.3
    suspicion = np.round(RANDOM.normal(size=30), 1)
    pairs = [(suspicion[i], suspicion[j]) for i in np.flatnonzero(flipped) for j in np.flatnonzero(~flipped)]
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    assert detect(suspicion, flipped).area == pytest.approx(wins / len(pairs), abs=1e-12)


def test_perfect_worst_and_undecided_orders() -> None:
    flipped = np.array([True] * 4 + [False] * 6)
    best = detect(flipped.astype(float), flipped)
    assert best.area == pytest.approx(1.0)
    assert detect(-flipped.astype(float), flipped).area == pytest.approx(0.0)
    undecided = detect(np.zeros(10), flipped)
    assert undecided.area == pytest.approx(0.5)
    np.testing.assert_allclose(undecided.found, undecided.checked)
    np.testing.assert_allclose(detect(-np.arange(10.0), flipped).found, perfect_shares(4, 10))


def test_ties_are_the_mean_over_their_orders() -> None:
    flipped = np.array([True, False, False, True])
    suspicion = np.array([1.0, 1.0, 1.0, 0.0])
    curves = []
    for order in itertools.permutations(range(3)):
        ordered = flipped[[*order, 3]]
        curves.append(np.append(0, np.cumsum(ordered)) / 2)
    np.testing.assert_allclose(found_shares(suspicion, flipped), np.mean(curves, axis=0))


def test_chance_is_the_spread_of_random_orders() -> None:
    flipped = np.arange(20) < 8
    areas = [detect(RANDOM.permutation(20).astype(float), flipped).area for _ in range(4000)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.01)
    assert np.std(areas) == pytest.approx(detect(np.zeros(20), flipped).chance, rel=0.05)


@pytest.mark.parametrize("flips", [0, 5])
def test_no_order_without_both_kinds(flips: int) -> None:
    with pytest.raises(DataError, match=f"{flips} of 5 examples are flipped"):
        detect(np.zeros(5), np.arange(5) < flips)
