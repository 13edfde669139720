"""Removal curves as numbers, tables and a picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.report.display import figure_of, tables_of, text_of, texts_of
from gptfl.report.removal_study import (
    draw_removal_study,
    headline,
    removal_study_figure,
    removal_study_tables,
    to_json,
    write_removal_study,
)
from gptfl.studies.results import HARMFUL, HELPFUL, RANDOM, DroppedSets, PredictedChange, RemovalStudy
from tests.report.made import printed

LOSS = MetricInfo("loss", False)
WHOLE = np.array([1.0, 1.2])


def dropped(kind: str, size: int, changes: list[list[float]], told: float | None, wide: float = 0.1) -> DroppedSets:
    array = np.array(changes)
    change = float(array.mean())
    predicted = {} if told is None else {"gp": PredictedChange(told, (told - 0.01, told + 0.01))}
    return DroppedSets(
        kind, None if kind == RANDOM else "gp", size, (("a", "b"),) * len(array), WHOLE + array, array, change, 0.02,
        (change - wide, change + wide), "not clear" if abs(change) < wide else "worse", predicted,
    )  # fmt: skip


def study(told: bool = True, wide: float = 0.1) -> RemovalStudy:
    drops = []
    for size in (2, 4):
        for kind, change in ((HARMFUL, -0.05), (HELPFUL, 0.2)):
            drops.append(dropped(kind, size, [[size * change, size * change - 0.01]], change if told else None, wide))
        drops.append(dropped(RANDOM, size, [[0.01, 0.02], [-0.01, 0.0]], 0.0 if told else None, wide))
    return RemovalStudy(
        "r $x$", LOSS, "mean", "the mean of all 6 test examples", 6, 20, ("gp",), (2, 4), WHOLE, tuple(drops), 8, 3,
        14, 12, None, None, ("a note",),
    )  # fmt: skip


def test_every_training_is_there_and_so_is_every_gap(tmp_path: Path) -> None:
    document = json.loads(to_json(study()))
    assert document["whole_pool"] == [1.0, 1.2]
    assert [(one["rows"], one["kind"]) for one in document["dropped"]][:3] == [(2, HARMFUL), (2, HELPFUL), (2, RANDOM)]
    first = document["dropped"][0]
    assert first["changes"] == [[-0.1, -0.11]]
    assert first["values"] == [[0.9, pytest.approx(1.09)]]
    assert first["predicted"] == {"gp": {"change": -0.05, "interval": [pytest.approx(-0.06), pytest.approx(-0.04)]}}
    assert (first["ranking"], document["dropped"][2]["ranking"]) == ("gp", None)
    assert len(document["dropped"][2]["sets"]) == 2
    gap = document["gaps"][1]
    assert (gap["ranking"], gap["rows"], gap["gap"]) == ("gp", 4, pytest.approx(1.0))
    assert (gap["predicted"], gap["two_random_sets"]) == (pytest.approx(0.25), pytest.approx(0.02))
    assert (document["trained"], document["trained_now"], document["notes"]) == (14, 12, ["a note"])
    write_removal_study(study(), tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == to_json(study())


def test_what_diverged_is_null(tmp_path: Path) -> None:
    torn = replace(dropped(HARMFUL, 2, [[np.nan, 0.1]], None), interval=None, verdict="diverged")
    found = replace(study(), drops=(torn, *study().drops[1:]), whole=np.array([np.nan, 1.0]))
    document = json.loads(to_json(found))
    assert document["dropped"][0]["changes"] == [[None, 0.1]]
    assert document["dropped"][0]["change"] is None
    assert "no finite score with all 20 rows" in headline(found)
    lines = printed(removal_study_tables(found, "gp")[0], 120).splitlines()
    assert next(line.split() for line in lines if HARMFUL in line) == ["2", "most", "harmful", "–", "–", "diverged"]
    draw_removal_study(found, tmp_path / "a.png")


def test_a_row_for_each_size_and_kind() -> None:
    changes, gaps = removal_study_tables(study(), "gp")
    lines = [line.split() for line in printed(changes, 120).splitlines()]
    found = {(line[0], line[2]): line for line in lines if line[:1] in (["2"], ["4"])}
    cells = found["2", "harmful"][3:]
    assert (cells[0], cells[3:]) == ("-0.105", ["-0.05", "[-0.06,", "-0.04]", "worse"])
    assert {key[0] for key in found} == {"2", "4"}
    assert len(found) == 6
    assert "random (2 sets)" in printed(changes, 120)
    assert "loss ends without the most harmful rows" in printed(gaps, 120).replace("\n", " ")
    (row,) = (line.split() for line in printed(gaps, 120).splitlines() if line.split()[:1] == ["4"])
    assert (row[1], row[-3:]) == ("+1", ["+0.25", "0.02", "right"])
    assert headline(study()) == (
        "loss at step 8 on the mean of all 6 test examples, for which rows were ranked, too: 1.1 with all 20 rows of "
        "r $x$, mean of 2 orders"
    )


def test_the_picture_has_recorded_and_predicted_lines(tmp_path: Path) -> None:
    figure = removal_study_figure(study())
    (axes,) = figure.axes
    curves = [line for line in axes.get_lines() if len(line.get_xdata()) == 3 and line.get_linestyle() != "None"]
    dashed = [line for line in curves if line.get_linestyle() == "--"]
    assert (len(curves), len(dashed)) == (6, 3)
    ends = sorted(float(line.get_ydata()[-1]) for line in curves if line not in dashed)
    assert ends == pytest.approx([-0.205, 0.005, 0.795])
    assert axes.get_ylabel() == "change of loss at step 8 (lower is better)"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["most harmful first", "most helpful first", "random", "recorded, with 90% interval", "predicted"]
    assert figure.get_suptitle().splitlines()[0] == r"r \$x\$"
    alone = removal_study_figure(study(told=False)).axes[0]
    assert "predicted" not in [text.get_text() for text in alone.get_legend().get_texts()]
    draw_removal_study(study(), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_long_bars_leave_the_curves_to_be_seen() -> None:
    low, high = removal_study_figure(study(wide=50.0)).axes[0].get_ylim()
    assert -2 < low < -0.205
    assert 0.795 < high < 2


def test_it_shows_itself() -> None:
    assert len(tables_of(study())) == 2
    assert text_of(study()).splitlines()[0].startswith("loss at step 8 on the mean")
    assert "note: a note" in text_of(study())
    assert texts_of(study()).keys() == {".json"}
    assert len(figure_of(study()).axes) == 1
