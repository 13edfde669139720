"""Between recorded steps all is linear."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.between_steps import Between, at_rows

GRID = np.array([0, 4, 10])
MEMBERS = [np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([0, 2])]


def fitted_states(seed=0):
    """Where three runs have come to at each recorded step: in one source of effects, and as expected in one way."""
    random = np.random.default_rng(seed)
    return [([random.normal(size=(3, 5))], [random.normal(size=(3, 2))]) for _ in GRID]


def common(row, expected):
    return [one[MEMBERS[row]].mean(axis=0) for one in expected]


def test_places_lie_between_the_recorded_steps_around_them_and_no_further():
    at = np.array([0.0, 1.0, 3.0, 4.0, 7.0, 10.0, 13.0])  # where each step of the asked runs, and their end, stands
    steps = np.array([0, 1, 2, 3, 4, 5, 6, 9])
    found = Between.of(steps, at, GRID)
    np.testing.assert_array_equal(found.rows, [0, 0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(found.weights, [0, 0.25, 0.75, 0, 0.5, 1, 1, 1])
    places = (1 - found.weights) * GRID[found.rows] + found.weights * GRID[found.rows + 1]
    np.testing.assert_allclose(places, np.clip(at[np.minimum(steps, 6)], 0, 10))


def test_a_grid_of_one_step_is_all_there_is():
    found = Between.of(np.array([0, 2]), np.array([0.0, 1.0, 2.0]), np.array([3]))
    assert found.rows.tolist() == [0, 0]
    assert found.weights.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_each_step_is_asked_at_both_recorded_ones_at_the_same_distance_from_the_runs_there(offset):
    states = fitted_states()
    found = Between.of(np.array([0, 1, 2]), np.array([2.0, 4.0, 8.5]), GRID)
    centres = [
        (effects[0][members].mean(axis=0), expected[0][members].mean(axis=0))
        for (effects, expected), members in zip(states, MEMBERS, strict=True)
    ]
    asked = []
    for row, weight in zip(found.rows, found.weights, strict=True):
        mixed = [(1 - weight) * low + weight * high for low, high in zip(centres[row], centres[row + 1], strict=True)]
        asked.append(([mixed[0][None] + offset], [mixed[1][None] - offset]))
    visits = list(found.visits(iter(asked), iter(states), MEMBERS, common))
    assert [visit.place for visit in visits] == list(range(6))
    assert [visit.row for visit in visits] == [0, 1, 1, 2, 1, 2]
    for visit in visits:
        np.testing.assert_allclose(visit.requested[0][0][0], centres[visit.row][0] + offset)
        np.testing.assert_allclose(visit.requested[1][0][0], centres[visit.row][1] - offset)
        np.testing.assert_array_equal(visit.fitted[0][0], states[visit.row][0][0])


def test_states_that_come_in_the_same_arrays_each_time_are_kept_apart():
    states = fitted_states()

    def reused():
        effects, expected = np.empty((3, 5)), np.empty((3, 2))
        for one in states:
            effects[:], expected[:] = one[0][0], one[1][0]
            yield [effects], [expected]

    found = Between.of(np.array([0, 1]), np.array([3.0, 9.0]), GRID)
    asked = [([np.zeros((1, 5))], [np.zeros((1, 2))])] * 2
    for visit in found.visits(iter(asked), reused(), MEMBERS, common):
        np.testing.assert_array_equal(visit.fitted[0][0], states[visit.row][0][0])
        np.testing.assert_array_equal(visit.fitted[1][0], states[visit.row][1][0])


def test_answers_of_each_pair_are_weighed():
    found = Between.of(np.array([0, 1]), np.array([1.0, 7.0]), GRID)
    values = np.arange(2 * 4 * 3, dtype=float).reshape(2, 4, 3)
    for place, weight in enumerate((0.25, 0.5)):
        expected = (1 - weight) * values[:, 2 * place] + weight * values[:, 2 * place + 1]
        np.testing.assert_allclose(found.blended(values)[:, place], expected)


def test_at_recorded_steps_each_is_asked_once():
    states = fitted_states()
    asked = fitted_states(1)
    visits = list(at_rows(iter(asked), iter(states)))
    assert [(visit.place, visit.row) for visit in visits] == [(0, 0), (1, 1), (2, 2)]
    assert all(visit.requested is asked[visit.row] and visit.fitted is states[visit.row] for visit in visits)
    with pytest.raises(ValueError, match="is longer than"):
        list(at_rows(iter(asked[:2]), iter(states)))
