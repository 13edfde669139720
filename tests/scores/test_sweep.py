"""One row of many fits, and what a point of the curve costs to record."""

from dataclasses import replace

import numpy as np

from gptfl.scores.comparison import ScoreRow, Value
from gptfl.scores.sweep import RunsPoint, RunsSweep, averaged
from tests.synthetic import LOSS


def test_an_average_is_that_of_all_its_rows_or_the_reason_why_there_is_none():
    rows = [
        ScoreRow("a", {"mse": Value(value, std=9.0), "lds": Value(value)}, seconds=value) for value in (1.0, 2.0, 6.0)
    ]
    mean = averaged(rows)
    assert mean.scores["mse"] == Value(3.0, std=float(np.std([1.0, 2.0, 6.0], ddof=1)))
    assert mean.seconds == 3.0
    assert averaged(rows[:1]) is rows[0]
    assert averaged([rows[0], ScoreRow("a", error="too few")]).error == "too few"
    assert set(averaged([rows[0], ScoreRow("a", {"mse": Value(1.0)})]).scores) == {"mse"}


def test_an_average_keeps_what_holds_of_the_estimator_and_drops_what_is_of_one_fit() -> None:
    row = ScoreRow("a", {"mse": Value(1.0)}, settings={"k": 3}, reused=True, notes=("ü",), best=frozenset({"mse"}))
    other = replace(row, reused=False, notes=("ü", "z"), skill_by_step={3: 0.5})
    mean = averaged([row, other])
    assert (mean.settings, mean.notes, mean.reused) == ({"k": 3}, ("ü", "z"), False)
    assert mean.best == frozenset()
    assert mean.skill_by_step == {}


def test_recording_costs_its_runs_and_what_features_take_beside() -> None:
    point = RunsPoint(5, 1, ())
    sweep = RunsSweep("x", LOSS, ("a", "b"), (), 8, (point,), run_seconds=2.5, beside={"a": 30.0})
    assert sweep.cost(point, "a") == 5 * 2.5 + 30.0
    assert sweep.cost(point, "b") == 5 * 2.5
    assert replace(sweep, run_seconds=None).cost(point, "a") is None
