"""What of a recording is left out, in words."""

from dataclasses import replace

import numpy as np

from gptfl.estimators.left_out import NAMED, cut_notes, named, of_steps
from tests.synthetic import synthetic


def test_the_first_names_are_told_and_how_many_more_there_are():
    names = [f"run-{place}" for place in range(NAMED + 3)]
    assert named(names[:1]) == "run-0"
    assert named(names[:NAMED]) == ", ".join(names[:NAMED])
    assert named(names) == ", ".join(names[:NAMED]) + " and 3 more"
    assert named([]) == ""


def test_steps_are_counted_where_there_are_several():
    assert of_steps([7]) == "step 7"
    assert of_steps(np.array([3, 9])) == "2 steps (3, 9)"
    assert of_steps(range(10)) == "10 steps (0, 1, 2, 3, 4, 5 and 4 more)"


def test_what_lies_beyond_the_average_run_is_told_if_it_has_any_score():
    runs = synthetic(2)[0].runs  # recorded at steps 0, 3, ..., 18
    grid = runs[0].steps
    assert cut_notes("mean-run", runs, "loss", grid) == ()
    (note,) = cut_notes("mean-run", runs, "loss", grid[1:-1])
    assert note == "mean-run: left out 2 steps (0, 18), where no run has a loss of every test example"
    values = runs[0].metrics["loss"].copy()
    values[-1] = np.nan
    silent = [replace(run, metrics={"loss": values}) for run in runs]
    (note,) = cut_notes("mean-run", silent, "loss", grid[1:-1])
    assert "left out step 0, where" in note, "of step 18 nothing was recorded"
    assert "2 steps" in cut_notes("mean-run", [silent[0], runs[1]], "loss", grid[1:-1])[0]
