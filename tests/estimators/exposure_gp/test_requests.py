"""What a process learns from: the clock of the runs fitted."""

import numpy as np

from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.requests import RecordedRuns

STEPS = np.array([0, 2, 4])
BATCHES = np.zeros((2, 4, 1), dtype=int)


def clock_of(rates, values, batches=BATCHES, steps=STEPS):
    return RecordedRuns(Curricula(batches, np.array(rates)), steps, values, 3).clock()


def test_step_sizes_add_up_to_the_least_and_the_most_of_any_run():
    found = clock_of([[1.0, 1.0, 1.0, 1.0], [0.5, 2.0, 0.5, 2.0]], np.ones((2, 3, 5)))
    np.testing.assert_allclose(found.least, [0, 0.5, 1.5, 2, 3])
    np.testing.assert_allclose(found.most, [0, 1, 3, 4, 6])


def test_a_run_counts_up_to_the_last_step_at_which_anything_is_known_of_it():
    values = np.ones((2, 3, 5))
    values[1, 2] = np.nan
    values[0, 1, :4] = np.nan  # one test example is enough
    found = clock_of([[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]], values)
    np.testing.assert_allclose(found.least, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(found.most, [0, 9, 18, 19, 20])


def test_a_run_of_which_nothing_is_known_is_asked_about_nowhere():
    values = np.ones((2, 3, 5))
    values[1] = np.nan
    found = clock_of([[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]], values)
    np.testing.assert_allclose(found.most, [0, 1, 2, 3, 4])


def test_steps_without_examples_add_nothing():
    batches = BATCHES.copy()
    batches[:, 1] = -1
    found = clock_of([[1.0, 1.0, 1.0, 1.0]] * 2, np.ones((2, 3, 5)), batches)
    np.testing.assert_allclose(found.least, [0, 1, 1, 2, 3])
