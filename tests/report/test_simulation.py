"""What a simulation predicts, as a table, in a line and for programs."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.report.simulation import (
    change_text,
    direction,
    draw_simulation,
    figure_arguments,
    headline,
    simulation_table,
    to_dict,
    to_json,
)
from tests.report.made import printed


def test_the_headline_says_what_would_happen(results: SimpleNamespace) -> None:
    found = results.simulation
    line = headline(found)
    assert line.startswith(f"{found.what} by exposure-gp: loss {found.mean_final:.4g} at step 6, ")
    assert line.endswith(f"({direction(found)})")


@pytest.mark.parametrize(
    ("change", "higher", "word"),
    [
        (0.5, True, "better; no interval says how surely"),
        (0.5, False, "worse; no interval says how surely"),
        (-0.5, False, "better; no interval says how surely"),
        (0.0, True, "no change"),
        (math.nan, True, "no change"),
    ],
)
def test_the_direction_follows_the_metric(results: SimpleNamespace, change: float, higher: bool, word: str) -> None:
    metric = replace(results.simulation.metric, higher_is_better=higher)
    assert direction(replace(results.simulation, mean_change=change, metric=metric)) == word


def test_a_change_has_its_interval_at_the_usual_level_or_the_widest(results: SimpleNamespace) -> None:
    found = replace(results.simulation, mean_change=-0.0512, change_intervals={})
    assert change_text(found) == "-0.0512"
    assert change_text(replace(found, change_intervals={0.5: (-0.1, 0.0), 0.9: (-0.2, 0.1)})) == "-0.0512 [-0.2, +0.1]"
    assert change_text(replace(found, change_intervals={0.5: (-0.1, 0.0)})) == "-0.0512 [-0.1, +0]"


def test_programs_get_every_number_and_null_where_there_is_none(results: SimpleNamespace) -> None:
    found = results.simulation
    document = json.loads(to_json(found))
    assert document["test"][2]["id"] == found.tests[2]
    assert document["test"][2]["predicted"] == found.final[2]
    assert document["test"][2]["intervals"]["0.9"] == [float(found.intervals[0.9][side][2]) for side in (0, 1)]
    assert document["recorded"] is None
    assert {row["recorded"] for row in document["test"]} == {None}
    one = replace(found, spread=np.full(len(found.tests), np.nan), marks=("", "new", *[""] * (len(found.tests) - 2)))
    rows = to_dict(one)["test"]
    assert [row["spread"] for row in rows] == [None] * len(rows)
    assert [row["fitted"] for row in rows[:2]] == ["seen", "new"]


def test_the_table_names_those_helped_and_hurt_most(results: SimpleNamespace) -> None:
    found = results.simulation
    text = printed(simulation_table(found), 140)
    assert "90% interval" in text
    for title, changes in (("helped most", found.helped), ("hurt most", found.hurt)):
        assert (title in text) == bool(changes)
        assert all(change.id in text for change in changes)
    told = replace(found, binary=True, recorded=np.array([math.nan] * len(found.tests)))
    shown = printed(simulation_table(told), 140)
    assert "P(loss = 1)" in shown
    assert "recorded" in shown
    assert "interval" not in shown


def test_the_picture_shows_up_to_four_and_of_probabilities_no_band(results: SimpleNamespace, tmp_path: Path) -> None:
    found = results.simulation
    given = figure_arguments(found)
    assert [name for name, _, _ in given["shown"]] == [one.id for one in (*found.helped[:2], *found.hurt[:2])]
    assert all(found.tests[place] == name for name, place, _ in given["shown"])
    assert given["intervals"] == found.prediction.intervals
    assert figure_arguments(replace(found, binary=True))["intervals"] == {}
    draw_simulation(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({0.9: (-0.2, -0.05)}, "better"),
        ({0.9: (-0.2, 0.05)}, "can't tell: the interval holds 0"),
        ({0.5: (-0.2, 0.05)}, "can't tell: the interval holds 0"),
        ({}, "better; no interval says how surely"),
    ],
)
def test_a_change_whose_interval_holds_0_may_go_either_way(results: SimpleNamespace, bounds, said) -> None:
    loss = MetricInfo("loss", higher_is_better=False)
    found = replace(results.simulation, mean_change=-0.1, metric=loss, change_intervals=bounds)
    assert direction(found) == said
