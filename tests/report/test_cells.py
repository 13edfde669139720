"""Scores as tables show them."""

from dataclasses import replace

import pytest

from gptfl.report.cells import csv_of, number, seconds, spread
from gptfl.report.comparison import rich_table
from gptfl.scores.comparison import ScoreRow, Value
from tests.report.made import comparison, printed


def test_what_is_so_by_definition_has_no_doubt_and_rounding_no_spread():
    flat = ScoreRow(
        "flat", {"lds": Value(0.0, interval=(0.0, 0.0)), "rho": Value(0.5, std=1.2e-16)}, lds_reliable=False
    )
    text = printed(rich_table(replace(comparison(), rows=(flat,))))
    assert "0.000 " in text
    assert "0.000?" not in text
    assert "±0 " in text
    assert spread("mse", Value(2e-5, std=1e-5)) == "±1e-5"
    assert spread("mse", Value(2.0, std=1e-16)) == "±0"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("skill", 0.12345, "0.123"),
        ("skill", -12.345, "-12.3"),
        ("skill", -99.5, "< -99"),
        ("mse", 0.12345, "0.123"),
        ("mse", 0.000123, "1.23e-4"),
        ("mse", 0.0, "0"),
        ("mae", 12345.0, "1.23e+4"),
        ("rho", -0.5, "-0.500"),
    ],
)
def test_three_digits_or_decimals(name, value, shown):
    assert number(name, value) == shown


def test_a_spread_is_an_interval_or_a_deviation_or_nothing():
    assert spread("lds", Value(0.5, interval=(-0.004, 12.6))) == "[-0.00, 13]"
    assert spread("rho", Value(0.5, std=0.123)) == "±0.12"
    assert spread("skill", Value(0.5)) == ""
    assert spread("skill", Value(-100.0, interval=(-200, 0))) == ""


def test_seconds_of_a_fit():
    assert [seconds(ScoreRow("a", seconds=one)) for one in (0.0, 0.1, 12.34)] == ["<0.1", "0.1", "12.3"]
    assert seconds(ScoreRow("a", error="no")) == "–"


def test_rows_of_csv_have_the_columns_of_the_first():
    assert csv_of([{"a": 1, "b": None}, {"a": "x,y", "b": 'q"'}]) == 'a,b\n1,\n"x,y","q"""\n'
