"""Whether intervals hold, as a table, in sentences and for programs."""

import math
from dataclasses import replace

import pytest

from gptfl.report.calibration import (
    calibration_lines,
    calibration_table,
    coverage_cells,
    coverage_columns,
    coverage_dict,
    percent,
)
from gptfl.scores.coverage import Coverage
from tests.report.made import comparison, printed

SURE = {0.5: Coverage(0.512, 0.25, 40, (0.4, 0.6)), 0.9: Coverage(0.875, 1.5, 40)}
NOTHING_KNOWN = {0.9: Coverage(math.nan, math.nan, 0)}


def made(*coverages: dict[float, Coverage]):
    """The comparison with coverages for its first rows."""
    plain = comparison()
    rows = [replace(row, coverage=one) for row, one in zip(plain.rows, coverages, strict=False)]
    return replace(plain, rows=(*rows, *plain.rows[len(rows) :]))


def test_without_intervals_there_is_no_table() -> None:
    assert calibration_table(comparison()) is None
    assert calibration_lines(comparison()) == []


def test_shares_and_widths_stand_by_level() -> None:
    by_task = replace(made({}, SURE).rows[1], coverage_by_task={"rte": {0.9: SURE[0.9]}})
    text = printed(calibration_table(replace(made({}, SURE), rows=(by_task,))), 100)
    (line,) = (line.split() for line in text.splitlines() if line.split()[:1] == ["good_one"])
    assert line == ["good_one", "51.2", "%", "0.25", "87.5", "%", "1.5"]
    assert "[40, 60]" in text
    (task,) = (line.split() for line in text.splitlines() if line.split()[:1] == ["rte"])
    assert task == ["rte", "–", "–", "87.5", "%", "1.5"]


def test_the_same_in_a_sentence() -> None:
    (line,) = calibration_lines(made(NOTHING_KNOWN, SURE))
    assert line == (
        "Predictive intervals, share of recorded points: mean-run – inside 90 % (mean width –); good_one 51.2 % [40, 60] "
        "inside 50 % (mean width 0.25), 87.5 % inside 90 % (mean width 1.5)."
    )


def test_an_interval_that_is_a_point_or_has_no_end_is_left_out() -> None:
    flat = {0.5: Coverage(1.0, 1.0, 4, (1.0, 1.0)), 0.9: Coverage(0.5, 1.0, 4, (-math.inf, 0.7))}
    (line,) = calibration_lines(made(flat))
    assert "mean-run 100 % inside 50 %" in line
    assert "50 % inside 90 %" in line


def test_programs_get_the_numbers() -> None:
    assert coverage_dict(SURE)["0.5"] == {"share": 0.512, "interval": [0.4, 0.6], "width": 0.25, "points": 40}
    assert coverage_dict(SURE)["0.9"]["interval"] is None
    assert coverage_columns([0.5, 0.95]) == ["inside_50", "width_50", "inside_95", "width_95"]
    assert coverage_cells(made(SURE).rows[0], [0.5, 0.95]) == [0.512, 0.25, None, None]


@pytest.mark.parametrize(("share", "shown"), [(0.9, "90 %"), (0.0, "0 %"), (1 / 3, "33.3 %"), (0.00012, "0.012 %")])
def test_shares_are_percents_of_three_digits(share: float, shown: str) -> None:
    assert percent(share) == shown
