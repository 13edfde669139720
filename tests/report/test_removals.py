"""What is right about leaving groups out, as a table and for programs."""

import math
from dataclasses import replace

import numpy as np

from gptfl.report.removals import removal_table, removals_dict
from gptfl.scores.removals import ChangesInside, Removals, RemovalScores
from tests.report.made import comparison, printed


def scores(**changed: object) -> RemovalScores:
    given = {
        "slope": 0.9, "slope_interval": (0.5, 1.25), "error": 1.5, "error_each": 12.0, "signs": 3, "clear": 4, "lds": 0.5
    }  # fmt: skip
    return RemovalScores(**{**given, **changed})


def made(*sizes: int, **changed: object):
    """The comparison with groups of these sizes left out, scored for one row."""
    plain = comparison()
    removals = Removals(tuple(np.arange(size) for size in sizes), np.array([[0, 1, 0], [1, 3, 2]]))
    rows = (plain.rows[0], replace(plain.rows[1], removals=scores(**changed)))
    return replace(plain, rows=rows, held_out=replace(plain.held_out, removals=removals))


def test_without_removals_there_is_no_table() -> None:
    assert removal_table(comparison()) is None
    assert removal_table(replace(made(2, 2), rows=comparison().rows)) is None


def test_a_row_for_each_estimator_that_tells_some() -> None:
    text = printed(removal_table(made(2, 4)), 100)
    assert "2 groups of 2 to 4, 2 pairs of runs" in " ".join(text.split())
    (line,) = (line.split() for line in text.splitlines() if line.split()[:1] == ["good_one"])
    assert line == ["good_one", "0.900", "1.500", "12", "3", "of", "4", "0.500"]
    assert "[0.500, 1.250]" in text
    assert "mean-run" not in text
    assert "2 groups of 3, " in printed(removal_table(made(3, 3)), 100)
    unknown = printed(removal_table(made(3, 3, slope=math.nan, slope_interval=(-math.inf, math.inf))), 100)
    assert "[" not in next(line for line in unknown.splitlines() if "good_one" in line)


def test_what_is_not_finite_is_null_for_programs() -> None:
    assert removals_dict(scores()) == {
        "slope": 0.9, "error": 1.5, "error_each": 12.0, "lds": 0.5, "slope_interval": [0.5, 1.25], "signs": 3, "clear": 4
    }  # fmt: skip
    open_ = removals_dict(scores(lds=math.nan, slope_interval=(-math.inf, 2.0)))
    assert (open_["lds"], open_["slope_interval"]) == (None, [None, 2.0])


def test_how_many_changes_lie_inside_their_intervals_where_that_is_told() -> None:
    inside = ChangesInside({0.5: 0.25, 0.9: 0.75}, {0.5: 0.4, 0.9: 0.93}, 1.25)
    text = printed(removal_table(made(3, 3, inside=inside)), 120)
    (line,) = (line for line in text.splitlines() if "good_one" in line)
    assert line.split()[-2:] == ["75%,", "93%"]
    assert "in the 90 % interval" in " ".join(text.split())
    assert "interval of the predicted" not in " ".join(printed(removal_table(made(3, 3)), 120).split())
    assert removals_dict(scores(inside=inside))["inside"] == {
        "levels": {"0.5": {"mean": 0.25, "each": 0.4}, "0.9": {"mean": 0.75, "each": 0.93}}, "spread": 1.25
    }  # fmt: skip
    assert removals_dict(scores(inside=replace(inside, spread=math.inf)))["inside"]["spread"] is None
