"""What groups of rows do, as a table and for programs."""

import csv

import numpy as np
import pytest

from gptfl.influence.group_effects import GroupEffects
from gptfl.influence.verdicts import HARMFUL, HELPFUL, UNCLEAR, Verdicts
from gptfl.recording.row_groups import Grouping
from gptfl.report.groups import group_rows_of, group_table, groups_of_json, groups_to_csv
from tests.report.made import printed

GROUPING = Grouping("source", ("web", "größe\nx", "(none)"), np.array([0, 0, 1, 2, 2, 2]))
VALUES = np.array([-1.0, 0.5, 0.5])


def sums() -> GroupEffects:
    return GroupEffects(GROUPING, VALUES)


def sure() -> GroupEffects:
    verdicts = Verdicts(0.1, np.sign(VALUES), np.array([0.01, 0.02, 0.4]), np.array([True, True, False]))
    counts = tuple({HELPFUL: i, HARMFUL: 1, UNCLEAR: 0} for i in range(3))
    return GroupEffects(GROUPING, VALUES, VALUES - 1, VALUES + 1, verdicts, counts)


def test_groups_come_in_order_with_what_each_of_their_rows_does() -> None:
    rows = group_rows_of(sums())
    assert [(row["rank"], row["group"], row["rows"]) for row in rows] == [
        (1, "größe x", 1),
        (2, "(none)", 3),
        (3, "web", 2),
    ]
    assert [row["per_row"] for row in rows] == pytest.approx([0.5, 0.5 / 3, -0.5])
    assert "low" not in rows[0]
    assert [row["rank"] for row in group_rows_of(sums(), reverse=True, top=2)] == [3, 2]
    assert group_rows_of(sums(), only=HARMFUL) == []


def test_what_is_known_of_groups_is_told() -> None:
    rows = group_rows_of(sure())
    assert [(row["verdict"], row["low"], row["high"]) for row in rows] == [
        (HELPFUL, -0.5, 1.5),
        (UNCLEAR, -0.5, 1.5),
        (HARMFUL, -2.0, 0.0),
    ]
    assert [(row["rows_helpful"], row["rows_harmful"]) for row in rows] == [(1, 1), (2, 1), (0, 1)]
    assert [row["group"] for row in group_rows_of(sure(), only=HARMFUL)] == ["web"]
    assert groups_of_json(sure(), 1, False, None) == {"by": "source", "groups": rows[:1]}


def test_csv_has_the_columns_of_all_estimators() -> None:
    text = groups_to_csv([("plain", sums()), ("sure", sure())], 1, False, None)
    plain, known = csv.DictReader(text.splitlines())
    assert (plain["estimator"], plain["low"], plain["verdict"]) == ("plain", "", "")
    assert (known["estimator"], known["low"], known["verdict"]) == ("sure", "-0.5", HELPFUL)
    assert groups_to_csv([("plain", sums())], None, False, HELPFUL) == "estimator,rank,group\n"


def test_the_table_says_how_much_it_shows() -> None:
    text = printed(group_table(sure(), 2, True), 120)
    assert "the 2 of lowest influence, of 3 (--top 3 shows all)" in text
    assert [line.split()[0] for line in text.splitlines() if line.split()[:1] in (["3"], ["2"], ["1"])] == ["3", "2"]
    assert "interval" in text
    plain = printed(group_table(sums(), None, False), 120)
    assert "interval" not in plain
    assert "--top" not in plain
