"""The frontier as table, picture and numbers."""

import csv
import json

from gptfl.report.frontier import (
    draw_frontier,
    frontier_csv,
    frontier_figure,
    frontier_ids_text,
    frontier_json,
    frontier_table,
    frontier_words,
    verdict_words,
)
from tests.report.chosen import POOL, frontier
from tests.report.made import printed


def test_the_chosen_point_is_marked_and_each_side_has_its_verdict():
    text = printed(frontier_table(frontier()), 140)
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["1"], ["2"], ["3"])]
    assert [row[1] == "*" for row in rows] == [False, True, False]
    assert [verdict_words(one) for one in frontier().points] == [
        "target: can't tell, retained: can't tell",
        "target: can't tell, retained: can't tell",
        "target better, retained worse",
    ]
    assert (
        frontier_words(frontier()) == "clearly better for the target: 1 of 3 points; clearly worse for the retained: 1"
    )
    unsure = frontier(sure=False)
    assert "interval" not in printed(frontier_table(unsure), 140)
    assert "no interval says" in frontier_words(unsure)


def test_programs_get_every_point_with_its_ids():
    document = json.loads(frontier_json(frontier()))
    assert [one["ids"] for one in document["points"]] == [list(one.ids) for one in frontier().points]
    assert document["points"][2]["retained_verdict"] == "worse"
    rows = list(csv.DictReader(frontier_csv(frontier()).splitlines()))
    assert [(row["point"], row["id"]) for row in rows][:2] == [("1", POOL[0].id), ("1", POOL[1].id)]
    assert frontier_ids_text(frontier()).splitlines()[1:] == list(frontier().points[1].ids)


def test_the_picture_has_a_panel_with_intervals_where_there_are_any(tmp_path):
    assert len(frontier_figure(frontier()).axes) == 2
    assert len(frontier_figure(frontier(sure=False)).axes) == 1
    draw_frontier(frontier(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
