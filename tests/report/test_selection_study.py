"""What training on selected examples comes to, beside random ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from gptfl.core import MetricInfo
from gptfl.report.selection_study import (
    draw_selection_study,
    selection_study_figure,
    selection_study_table,
    to_json,
    write_selection_study,
)
from gptfl.studies.results import SelectionStudy, SelectorResult
from tests.report.made import printed

METRICS = {"loss": MetricInfo("loss", False), "accuracy": MetricInfo("accuracy", True)}


def kind(name: str, *losses: float) -> SelectorResult:
    values = {"loss": np.array(losses), "accuracy": 1 - np.array(losses)}
    return SelectorResult(name, (("a", "b"),), values)


STUDY = SelectionStudy(
    "r $x$", "mean", 2, (kind("selected", 0.1, 0.2, 0.15), kind("tracin-cp", 0.3), kind("random", 0.6, 0.7, 0.65)),
    METRICS, 5, ("t1", "t2"), 8, 7, 7, 3, None, None, ("a note",),
)  # fmt: skip


def test_every_training_is_there_and_differences_point_to_the_better() -> None:
    document = json.loads(to_json(STUDY))
    chosen, other, chance = document["kinds"]
    assert chosen["values"]["loss"] == [0.1, 0.2, 0.15]
    assert chosen["better_than_random"]["loss"]["by"] == pytest.approx(0.5)
    assert chosen["better_than_random"]["accuracy"]["by"] == pytest.approx(0.5)
    assert chosen["better_than_random"]["loss"]["clear"]
    assert chosen["selected_better_than_this"] == chance["better_than_random"] == {}
    assert other["selected_better_than_this"]["loss"]["by"] == pytest.approx(0.15)
    assert (document["scored"], document["notes"]) == (["t1", "t2"], ["a note"])


def test_the_table_has_a_row_for_each_kind(tmp_path: Path) -> None:
    lines = [line.split() for line in printed(selection_study_table(STUDY, "loss"), 100).splitlines()]
    found = {line[0]: line[1:] for line in lines if line[:1] in (["selected"], ["tracin-cp"], ["random"])}
    assert found["selected"] == ["3", "0.15", "+0.5"]
    assert found["random"] == ["3", "0.65", "+0.5"]
    assert found["tracin-cp"][:2] == ["1", "0.3"]
    write_selection_study(STUDY, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == to_json(STUDY)


def test_the_picture_has_a_point_for_each_training(tmp_path: Path) -> None:
    loss, accuracy = selection_study_figure(STUDY).axes
    points = np.concatenate([one.get_offsets()[:, 1] for one in loss.collections if isinstance(one, PathCollection)])
    assert sorted(points) == pytest.approx(sorted([0.1, 0.2, 0.15, 0.3, 0.6, 0.7, 0.65]))
    assert loss.get_ylabel() == "loss at step 8 (lower is better)"
    assert accuracy.get_ylabel() == "accuracy at step 8 (higher is better)"
    draw_selection_study(replace(STUDY, metrics={"loss": METRICS["loss"]}), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
