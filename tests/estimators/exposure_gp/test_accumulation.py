import numpy as np
import pytest

from gptfl.core.curriculum import presentation_weights
from gptfl.estimators.exposure_gp.accumulation import MANY, Vectors, accumulated, accumulated_counts
from gptfl.estimators.exposures import exposures

RANDOM = np.random.default_rng(0)
BATCHES, RATES = RANDOM.integers(-1, 6, size=(5, 9, 3)), RANDOM.uniform(size=(5, 9))
BATCHES[2, 5:] = -1
POINTS = np.array([1, 4, 6])
ROWS = RANDOM.normal(size=(3, 6, 4))


def looped(steps, points, rows):
    found = np.zeros((len(BATCHES), len(steps), rows.shape[2]))
    for run in range(len(BATCHES)):
        for place, step in enumerate(steps):
            for taken in range(min(step, BATCHES.shape[1])):
                for member in BATCHES[run, taken]:
                    if member >= 0:
                        vector = [np.interp(taken, points, rows[:, member, d]) for d in range(rows.shape[2])]
                        found[run, place] += RATES[run, taken] * np.array(vector)
    return found


@pytest.mark.parametrize("steps", [[0, 2, 3, 9], [1, 4], [0], [5, 20], [4, 5, 6, 7]])
@pytest.mark.parametrize("points", [3, 1])
def test_travelled_matches_a_plain_loop(steps, points):
    vectors = Vectors(POINTS[:points], ROWS[:points])
    found = np.stack([one.copy() for one in accumulated(BATCHES, RATES, np.array(steps), vectors)], axis=1)
    np.testing.assert_allclose(found, looped(steps, POINTS[:points], ROWS[:points]), atol=1e-12)


def test_many_runs_at_once_go_as_each_alone():
    vectors, steps = Vectors(POINTS, ROWS.astype(np.float32)), np.array([0, 2, 9])
    many = accumulated(np.tile(BATCHES, (MANY, 1, 1)), np.tile(RATES, (MANY, 1)), steps, vectors)
    for one, other in zip(accumulated(BATCHES, RATES, steps, vectors), many, strict=True):
        np.testing.assert_allclose(other, np.tile(one, (MANY, 1)), atol=1e-5)


@pytest.mark.parametrize("steps", [[0, 2, 3, 9], [1, 4], [0], [5, 20]])
def test_counted_is_the_exposures(steps):
    found = np.stack(
        [one.copy() for one in accumulated_counts(BATCHES, presentation_weights(BATCHES, RATES), np.array(steps), 6)],
        axis=1,
    )
    np.testing.assert_allclose(found, exposures(BATCHES, RATES, np.array(steps), 6), rtol=1e-14)


def test_unit_vectors_travel_as_they_are_counted():
    units = Vectors(np.array([0]), np.eye(6)[None])
    steps = np.array([0, 3, 9])
    for one, other in zip(
        accumulated(BATCHES, RATES, steps, units), accumulated_counts(BATCHES, RATES, steps, 6), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_between_two_points_each_counts_by_its_distance_and_beyond_them_the_last_alone():
    vectors = Vectors(POINTS, ROWS)
    assert vectors.weights(0) == [(0, 1.0)]
    assert vectors.weights(1) == [(0, 1.0)]
    assert vectors.weights(2) == [(0, pytest.approx(2 / 3)), (1, pytest.approx(1 / 3))]
    assert dict(vectors.weights(4))[1] == 1.0
    assert vectors.weights(9) == [(2, 1.0)]


def test_vectors_in_single_precision_lose_no_more_than_that():
    steps = np.array([3, 9])
    exact = [one.copy() for one in accumulated(BATCHES, RATES, steps, Vectors(POINTS, ROWS))]
    rough = [one.copy() for one in accumulated(BATCHES, RATES, steps, Vectors(POINTS, ROWS.astype(np.float32)))]
    np.testing.assert_allclose(rough, exact, atol=1e-5)
    assert rough[0].dtype == np.float64


def test_with_a_reach_what_was_seen_fades():
    random = np.random.default_rng(4)
    batches, rates = random.integers(-1, 5, size=(3, 9, 2)), random.uniform(size=(3, 9))
    vectors = Vectors(np.array([0, 6]), random.normal(size=(2, 5, 4)))
    steps = np.array([0, 2, 3, 9])
    found = [one.copy() for one in accumulated(batches, rates, steps, vectors, 2.5)]
    for step, one in zip(steps, found, strict=True):
        expected = np.zeros((3, 4))
        for run in range(3):
            for place in range(int(step)):
                for member in batches[run, place]:
                    if member >= 0:
                        vector = sum(weight * vectors.rows[point, member] for point, weight in vectors.weights(place))
                        expected[run] += np.exp(-(step - 1 - place) / 2.5) * rates[run, place] * vector
        np.testing.assert_allclose(one, expected, atol=1e-9)
