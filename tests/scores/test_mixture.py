"""Scores of a mixture: on each task by itself, and the means of them."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.scores import pointwise
from gptfl.scores.comparison import Predictions, score_rows
from gptfl.scores.held_out import HeldOut
from gptfl.scores.pointwise import mean_over_parts

TASKS = ("b", "a", "b", "b", "a")
COLUMNS = {"b": [0, 2, 3], "a": [1, 4]}


def held_out(tasks: tuple[str, ...]) -> tuple[HeldOut, list[Predictions]]:
    random = np.random.default_rng(3)
    truth = random.normal(size=(9, 4, 5)) * np.array([1, 10, 1, 1, 10.0])
    steps = np.broadcast_to(np.arange(4), (9, 4))
    names = tuple(f"run-{i:04d}" for i in range(9))
    held = HeldOut(names, tuple("vwxyz"), np.zeros(9, dtype=int), steps, truth, np.zeros_like(truth), tasks)
    guess = truth + random.normal(size=truth.shape)
    return held, [Predictions("mean-run", np.zeros_like(truth)), Predictions("guess", guess)]


def test_each_task_is_scored_as_if_it_were_alone() -> None:
    held, outcomes = held_out(TASKS)
    rows = score_rows(held, outcomes)
    assert [list(row.by_task) for row in rows] == [["b", "a"]] * 2
    for task, columns in COLUMNS.items():
        part = held.at(np.array(columns))
        assert part.tests == tuple("vwxyz"[c] for c in columns)
        alone = [replace(o, predicted=o.predicted[:, :, columns]) for o in outcomes if o.predicted is not None]
        for row, expected in zip(rows, score_rows(part, alone), strict=True):
            assert row.by_task[task] == expected.scores
            assert row.of_tasks()[task].scores == expected.scores
            assert row.of_tasks()[task].best == frozenset()


def test_the_main_row_has_the_means_of_the_tasks_and_skill_and_lds_of_all() -> None:
    held, outcomes = held_out(TASKS)
    whole = score_rows(replace(held, tasks=()), outcomes)
    for row, plain, outcome in zip(score_rows(held, outcomes), whole, outcomes, strict=True):
        for name in ("mse", "mae", "rho"):
            means = [row.by_task[task][name].value for task in COLUMNS]
            assert row.scores[name].value == pytest.approx(np.mean(means))
        assert row.scores["skill"] == plain.scores["skill"]
        assert row.scores["lds"] == plain.scores["lds"]
        assert row.scores["mse"].value != plain.scores["mse"].value
        each = [pointwise.all_steps_mse(outcome.predicted[:, :, c], held.recorded[:, :, c]) for c in COLUMNS.values()]
        assert row.scores["mse"].std == pytest.approx(np.std((each[0] + each[1]) / 2, ddof=1))


def test_without_tasks_there_are_none() -> None:
    held, outcomes = held_out(())
    assert all(row.by_task == {} and row.of_tasks() == {} for row in score_rows(held, outcomes))


def test_a_part_that_is_not_known_is_left_out_of_the_mean() -> None:
    parts = [np.array([1.0, np.nan, np.nan]), np.array([3.0, 4.0, np.nan])]
    np.testing.assert_array_equal(mean_over_parts(parts), [2.0, 4.0, np.nan])
