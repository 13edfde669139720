"""The comparison and its calibration as a page shows them."""

from dataclasses import replace

from gptfl.report.page.tables import BOTTOM, LEFT, RIGHT, TOP, calibration_of, tables_of
from gptfl.scores.coverage import Coverage
from tests.report.made import comparison

SURE = {0.9: Coverage(0.875, 1.5, 40, (0.8, 1.0)), 0.5: Coverage(0.5, 0.25, 40)}


def sure():
    """The comparison with intervals for its second row."""
    made = comparison()
    return replace(made, rows=(made.rows[0], replace(made.rows[1], name="good", coverage=SURE), made.rows[2]))


def test_scores_are_rows_and_the_estimator_shown_is_marked() -> None:
    (table,) = tables_of(comparison(), "good_one")
    assert table["columns"] == ["estimator", "MSE", "MAE", "final ρ", "LDS", "skill", "fit s"]
    assert [row["cells"][0] for row in table["rows"]] == ["mean-run", "good_one", "broken"]
    assert all(len(row["cells"]) == len(table["columns"]) for row in table["rows"])
    assert table["rows"][2]["cells"][1:] == ["–"] * 6
    assert table["title"].startswith("loss of a_b.dynamics.h5")
    assert "broken failed: no [bold]idea: mend it" in table["lines"]


def test_intervals_have_a_table_of_their_own() -> None:
    scores, inside = tables_of(sure(), "good")
    assert [row["chosen"] for row in scores["rows"]] == [False, True, False]
    assert inside["columns"] == ["estimator", "inside 50 %", "width", "inside 90 %", "width"]
    (row,) = inside["rows"]
    assert (row["cells"], row["chosen"]) == (["good_one", "50 %", "0.25", "87.5 % [80, 100]", "1.5"], True)
    assert (row["example"], inside["has_texts"]) == (None, False)


def test_the_picture_lies_within_its_corners() -> None:
    assert calibration_of(comparison(), "good") is None
    assert calibration_of(sure(), "mean-run") is None
    picture = calibration_of(sure(), "good")
    assert picture is not None
    half, most = picture["points"]
    assert half == {"x": (LEFT + RIGHT) / 2, "y": (TOP + BOTTOM) / 2}
    assert (most["x"], most["high"]) == (LEFT + 0.9 * (RIGHT - LEFT), TOP)
    assert TOP == most["high"] < most["y"] < most["low"] < BOTTOM
    assert picture["words"] == "50 % inside 50 %, 87.5 % inside 90 %"
    assert [tick["label"] for tick in picture["ticks"]] == ["0 %", "50 %", "90 %"]
