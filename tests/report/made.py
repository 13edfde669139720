"""Results as tables are made of them, without a recording."""

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from gptfl.core import MetricInfo
from gptfl.scores.comparison import Comparison, Predictions, ScoreRow, Value, score_rows
from gptfl.scores.held_out import HeldOut
from gptfl.scores.sweep import Point, RunsPoint, RunsSweep, Sweep


def comparison(runs=10, **changes):
    """Three estimators on ten runs: the average, one that is good and one that failed."""
    random = np.random.default_rng(0)
    truth = random.normal(size=(runs, 4, 5))
    steps = np.broadcast_to(np.arange(4), (runs, 4))
    names = tuple(f"run-{i:04d}" for i in range(runs))
    held = HeldOut(names, tuple("abcde"), np.zeros(runs, dtype=int), steps, truth, np.zeros_like(truth))
    outcomes = [
        Predictions("mean-run", np.zeros_like(truth)),
        Predictions("good_one", truth + 0.1 * random.normal(size=truth.shape), seconds=1.25, notes=("it is tired",)),
        Predictions("broken", error="no [bold]idea: mend it"),
    ]
    rows = score_rows(held, outcomes)
    predicted = {o.estimator: o.predicted for o in outcomes if o.predicted is not None}
    made = {"fit_runs": 20, "validation_runs": 2, "left_out": {"x": "it needs checkpoints"}, "notes": ("took a",)}
    return Comparison("a_b.dynamics.h5", MetricInfo("loss", False), rows, held, predicted, **{**made, **changes})


def printed(table, width=80):
    """A table as a terminal of so many columns shows it."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()


def with_oracle():
    """The same with a row of an estimator that looked along the runs."""
    made = comparison()
    rows = (*made.rows, replace(made.rows[1], estimator="own-run (rescale)", name="own-run", oracle=True))
    return replace(made, rows=rows)


def mixture():
    """The same on test examples of two tasks."""
    made = comparison()
    tasks = ("rte", "cnn_dailymail", "rte", "cnn_dailymail", "rte")
    held = replace(made.held_out, tasks=tasks)
    outcomes = [Predictions(name, predicted) for name, predicted in made.predicted.items()]
    return replace(made, held_out=held, rows=(*score_rows(held, outcomes), made.rows[2]))


def sweep_of(*values):
    """A sweep over one axis and another: the good estimator's error grows with the first."""
    points = []
    for scale in values:
        for kind in ("a", "b"):
            at = comparison()
            row = replace(at.rows[1], scores={**at.rows[1].scores, "mse": Value(scale + (kind == "b"), std=0.1)})
            points.append(Point({"scale": scale, "kind": kind}, row, at))
    return Sweep("good_one", {"scale": list(values), "kind": ["a", "b"]}, tuple(points))


def curve_of(*runs, **more):
    """Scores of two estimators after fits to so many runs; the second failed once."""
    points = []
    for count in runs:
        value = Value(1 - 1 / count, interval=(0.1, 0.9))
        good = ScoreRow("good", {"skill": value, "mse": Value(1.0, std=0.1)}, seconds=2.0)
        mean = ScoreRow("mean-run", {"skill": Value(0.0), "mse": Value(2.0)}, name="mean-run")
        points.append(RunsPoint(count, 1, (mean, good, ScoreRow("broken", error="no [idea]: mend it"))))
    held = ("run-0001", "run-0002")
    return RunsSweep(
        "größe.dynamics.h5", MetricInfo("loss", False), ("good", "broken"), held, 20, tuple(points), **more
    )
