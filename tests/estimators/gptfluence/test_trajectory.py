"""What the fit of a recurrence needs of one run."""

from dataclasses import replace

import numpy as np

from gptfl.core import FitData
from gptfl.estimators.gptfluence.trajectory import recorded, scaled
from tests.synthetic import LOSS, synthetic

DYNAMICS = synthetic(2, test=3)[0]
RUN = DYNAMICS.runs[0]
DATA = FitData(DYNAMICS.pool, DYNAMICS.test, LOSS, DYNAMICS.runs)


def with_values(values: np.ndarray) -> object:
    return recorded(replace(RUN, metrics={"loss": values}), DATA)


def test_steps_at_which_nothing_was_recorded_are_left_out() -> None:
    values = RUN.metrics["loss"].copy()
    values[[1, 4]] = np.nan
    values[2, 1] = np.nan  # a single gap stays open
    found = recorded(replace(RUN, metrics={"loss": values}), DATA)
    assert found is not None
    np.testing.assert_array_equal(found.steps, np.delete(RUN.steps, [1, 4]))
    np.testing.assert_array_equal(found.values, np.delete(values, [1, 4], axis=0))
    assert found.batches is RUN.curriculum.batches
    assert found.rates is RUN.curriculum.learning_rates


def test_a_run_of_one_point_teaches_nothing() -> None:
    values = np.full(RUN.metrics["loss"].shape, np.nan)
    assert with_values(values) is None
    values[3, 0] = 1.0
    assert with_values(values) is None
    values[5, 2] = 2.0
    assert with_values(values) is not None


def test_scaling_multiplies_values_alone_and_leaves_the_run_as_it_was() -> None:
    plain = recorded(RUN, DATA)
    assert plain is not None
    before = plain.values.copy()
    (found,) = scaled([plain], 0.5)
    np.testing.assert_array_equal(found.values, 0.5 * before)
    np.testing.assert_array_equal(plain.values, before)
    assert found.batches is plain.batches
    assert scaled([], 2.0) == []
