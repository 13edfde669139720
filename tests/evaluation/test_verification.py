"""What a prediction comes to, in numbers."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Curriculum
from gptfl.evaluation.verification import Verification, named_batches, values_at
from tests.synthetic import LOSS, synthetic

NAN = np.nan
RUN = synthetic(1)[0].runs[0]  # recorded at steps 0, 3, ..., 18


def made(predicted: np.ndarray, recorded: np.ndarray, reference: np.ndarray) -> Verification:
    runs, steps, tests = predicted.shape
    return Verification(
        "r", "e", LOSS, "3 examples", tuple(f"order {run}" for run in range(runs)), tuple(f"t{test}" for test in range(tests)),
        np.arange(steps), predicted, recorded, reference, ((),) * runs, 0.1, 0.9, None, {}, 1.0,
    )  # fmt: skip


def test_values_are_taken_at_the_steps_asked_and_nothing_is_made_up_between() -> None:
    found = values_at(RUN, "loss", np.array([18, 4, 0, 3, 99]))
    values = RUN.metrics["loss"]
    np.testing.assert_array_equal(found[[0, 2, 3]], values[[6, 0, 1]])
    assert np.isnan(found[[1, 4]]).all()
    assert found.dtype == np.float64
    assert values_at(RUN, "loss", np.array([], int)).shape == (0, values.shape[1])


def test_batches_are_named_and_empty_places_are_not() -> None:
    runs = [
        replace(RUN, curriculum=Curriculum(np.array(batches), np.ones(2)))
        for batches in ([[2, 0], [1, -1]], [[-1, -1], [1, 1]])
    ]
    assert named_batches(runs, ["a", "b", "c"]) == ((("c", "a"), ("b",)), ((), ("b", "b")))


def test_the_end_is_the_last_step_at_which_anything_was_recorded() -> None:
    random = np.random.default_rng(0)
    predicted, recorded, reference = (
        random.normal(size=(2, 4, 3)),
        random.normal(size=(2, 4, 3)),
        random.normal(size=(4, 3)),
    )
    whole = made(predicted, recorded, reference)
    assert whole.last == 3
    recorded[:, 3] = NAN
    recorded[0, 2] = NAN  # one training is enough
    shorter = made(predicted, recorded, reference)
    assert shorter.last == 2
    ours, _, average = shorter.finals()
    np.testing.assert_allclose(ours, predicted[:, 2].mean(axis=0))
    np.testing.assert_array_equal(average, reference[2])


def test_means_leave_out_what_is_not_known_and_are_none_of_nothing() -> None:
    predicted, recorded = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, NAN, 2.0]]])
    assert made(predicted, recorded, np.array([[NAN, NAN, NAN]])).means() == (2.0, 1.5, None)
    assert made(predicted, recorded, np.array([[4.0, NAN, 6.0]])).means()[2] == pytest.approx(5.0)
