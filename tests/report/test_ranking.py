"""Rankings as tables and for programs, and how early they find flips."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.errors import UsageError
from gptfl.influence.group_effects import GroupEffects
from gptfl.influence.ranking import Ranking, RankResult, TokenInfluence
from gptfl.influence.verdicts import HARMFUL, HELPFUL, UNCLEAR, Verdicts
from gptfl.recording.row_groups import Grouping
from gptfl.report.ranking import (
    check_table,
    detection_figure,
    detection_table,
    rich_table,
    to_csv,
    to_json,
    token_table,
    write_table,
)
from gptfl.report.ranking_rows import class_of, shown
from gptfl.scores.detection import detect
from tests.report.made import printed

POOL = tuple(Example(f"größe-{i}", f"Prompt\n{i}", " b", (" a", " b"), 1) for i in range(4))
VALUES = np.array([0.5, -0.25, 2.0, -0.25])


def sure() -> Verdicts:
    return Verdicts(0.1, np.sign(VALUES), np.array([0.3, 0.01, 0.0, 0.4]), np.array([False, True, True, False]))


def ranking(**more: object) -> Ranking:
    return Ranking("e (x=1)", "e", "drop", VALUES, 8, Path("e.h5"), **more)


def result(*rankings: Ranking, **more: object) -> RankResult:
    given = rankings or (ranking(),)
    return RankResult("r.dynamics.h5", MetricInfo("loss", False), "mean", "the mean", POOL, given, **more)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_ranks_count_from_the_highest_ties_in_the_pools_order() -> None:
    one = ranking(verdicts=sure())
    assert list(shown(one, None, False)) == [(1, 2), (2, 0), (3, 1), (4, 3)]
    assert list(shown(one, 2, True)) == [(4, 3), (3, 1)]
    assert list(shown(one, None, False, HELPFUL)) == [(1, 2)]
    assert list(shown(one, None, False, HARMFUL)) == [(3, 1)]
    assert list(shown(ranking(), None, False, HARMFUL)) == []
    assert list(shown(replace(one, how="cleaning"), 2, True)) == [(1, 2), (2, 0)]
    assert list(shown(one, 0, False)) == []


def test_csv_has_what_is_known() -> None:
    plain = rows(to_csv(result()))
    assert list(plain[0]) == ["estimator", "rank", "id", "influence", "class", "text"]
    assert [(row["rank"], row["id"], float(row["influence"])) for row in plain[:2]] == [
        ("1", "größe-2", 2.0),
        ("2", "größe-0", 0.5),
    ]
    assert plain[0]["text"] == "Prompt 2 b"
    full = result(
        ranking(low=VALUES - 1, high=VALUES + 1, verdicts=sure()),
        flipped=np.array([True, False, False, False]),
        tokens=TokenInfluence((" b", "!"), np.arange(8.0).reshape(4, 2)),
    )
    first, second = rows(to_csv(full, 2))
    assert (first["low"], first["high"], first["verdict"], first["wrong_sign"]) == ("1.0", "3.0", HELPFUL, "0.0")
    assert (second["flipped"], second["verdict"]) == ("1", UNCLEAR)
    assert (first["token 1"], first["token 2"]) == ("4.0", "5.0")


def test_json_has_every_ranking_and_curve() -> None:
    flipped = np.array([False, True, False, True])
    found = detect(-VALUES, flipped)
    document = json.loads(to_json(result(flipped=flipped, detections={"e": found}), 1, True))
    (one,) = document["rankings"]
    assert [row["id"] for row in one["examples"]] == ["größe-3"]
    assert document["flipped"] == 2
    assert document["detection"]["e"]["area"] == found.area == 1.0
    assert document["detection"]["e"]["found"] == found.found.tolist()


def test_the_suffix_names_the_table(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet", "a.JSON"):
        check_table(tmp_path / name)
    for name in ("a.txt", "csv"):
        with pytest.raises(UsageError, match=r"has no known suffix for a table: end it in \.csv, \.parquet or \.json"):
            check_table(tmp_path / name)
    write_table(result(), tmp_path / "a.csv", 1)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == to_csv(result(), 1)
    write_table(result(), tmp_path / "a.json", 1)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["recording"] == "r.dynamics.h5"


@pytest.mark.parametrize("top", [None, 2])
def test_parquet_has_what_csv_has(tmp_path: Path, top: int | None) -> None:
    bounds = {"low": VALUES - 1, "high": VALUES + 1}
    made = result(ranking(**bounds, verdicts=sure()), flipped=np.array([True, False, False, True]))
    write_table(made, tmp_path / "a.parquet", top)
    table = pd.read_parquet(tmp_path / "a.parquet")
    expected = rows(to_csv(made, top))
    assert list(table) == list(expected[0])
    for row, one in zip(table.to_dict("records"), expected, strict=True):
        for name, value in row.items():
            assert str(int(value) if isinstance(value, bool) else value) == one[name]
    assert [str(table[name].dtype) for name in ("rank", "influence", "flipped")] == ["int64", "float64", "bool"]


def test_groups_are_rows_of_parquet_too(tmp_path: Path) -> None:
    grouping = Grouping("source", ("web", "book"), np.array([0, 0, 1, 1]))
    grouped = ranking(groups=GroupEffects(grouping, np.array([-1.0, 0.5])))
    write_table(result(grouped), tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    expected = rows(to_csv(result(grouped)))
    assert list(table) == list(expected[0])
    assert table["group"].tolist() == [one["group"] for one in expected]
    assert table["influence"].tolist() == [float(one["influence"]) for one in expected]


def test_the_terminals_table_says_how_much_it_shows() -> None:
    one = ranking(low=VALUES - 1, high=VALUES + 1, verdicts=sure())
    text = printed(rich_table(result(one), one, 2, False), 100)
    assert "größe-2" in text
    assert "größe-1" not in text
    assert "90% interval" in text
    assert "the 2 of highest influence, of 4 (--top 4 shows all)" in text
    assert "of 1 helpful" in printed(rich_table(result(one), one, 0, False, HELPFUL), 100)
    assert "--top" not in printed(rich_table(result(), ranking(), None, False), 100)


def test_a_pool_without_classes_has_no_column_of_them() -> None:
    one = ranking()
    found = result(one)
    head = printed(rich_table(found, one, None, False), 100).splitlines()
    bare = replace(found, pool=tuple(Example(example.id, example.prompt, example.target) for example in found.pool))
    assert any(" class " in line for line in head)
    assert not any(" class " in line for line in printed(rich_table(bare, one, None, False), 100).splitlines())


def test_tokens_name_who_helped_and_who_hurt() -> None:
    tokens = TokenInfluence((" b", "!"), np.array([[1.0, 0.0], [-2.0, 0.0], [3.0, 0.0], [0.5, 0.0]]))
    lines = printed(token_table(result(), tokens), 120).splitlines()
    first = next(line for line in lines if '" b"' in line)
    assert first.index("größe-2 (+3)") < first.index("größe-0 (+1)") < first.index("größe-1 (-2)")
    assert next(line for line in lines if '"!"' in line).split() == ['"!"']


def test_flips_found_are_a_table_and_a_picture() -> None:
    flipped = np.array([False, True, False, True])
    found = {"e $x$": detect(-VALUES, flipped), "worst": detect(VALUES, flipped)}
    text = printed(detection_table(found), 100)
    assert [line.split()[1:2] for line in text.splitlines() if line.split()[:1] == ["worst"]] == [["0.000"]]
    assert "random order" in text
    axes = detection_figure(found, 2, 4, "größe").axes[0]
    assert [line.get_label() for line in axes.lines] == [
        "perfect order (1)",
        "random order (0.5)",
        r"e \$x\$ (1.00)",
        "worst (0.00)",
    ]
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), found["e $x$"].found)


def test_a_class_is_shown_by_its_text() -> None:
    assert class_of(POOL[0]) == "b"
    assert class_of(Example("x", "p", "t", (), 3)) == "3"
    assert class_of(Example("x", "p", "t")) == ""
