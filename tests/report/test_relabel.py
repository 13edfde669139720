"""What correcting labels in one order or another comes to."""

import json
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.report.relabel import (
    PERFECT_ORDER,
    RANDOM_ORDER,
    draw_study,
    study_figure,
    study_table,
    to_json,
    write_study,
)
from gptfl.studies.results import RelabelStudy
from tests.report.made import printed

ORDERS = ("größe", RANDOM_ORDER, PERFECT_ORDER)


def study(repeats: int = 2) -> RelabelStudy:
    values = np.arange(3 * 3 * repeats, dtype=float).reshape(3, 3, repeats) / 10
    return RelabelStudy(
        "r $x$", "mean", ORDERS, (0.0, 0.5, 1.0), values / 2, {"loss": values}, {"loss": MetricInfo("loss", False)},
        4, 12, 5, 8, 18, 18, None, None, ("a note",),
    )  # fmt: skip


def test_every_repeat_is_there(tmp_path: Path) -> None:
    made = study()
    document = json.loads(to_json(made))
    assert [one["order"] for one in document["orders"]] == list(ORDERS)
    assert document["orders"][1]["loss"] == made.values["loss"][1].tolist()
    assert document["orders"][1]["found"] == made.found[1].tolist()
    assert (document["flipped"], document["repeats"]) == (4, 2)
    write_study(made, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == to_json(made)


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_table_has_means_and_their_spread_where_there_is_one(repeats: int) -> None:
    made = study(repeats)
    text = printed(study_table(made, "loss"), 100)
    assert ("±" in text) == (repeats > 1)
    (line,) = (line.split() for line in text.splitlines() if line.split()[:1] == ["größe"])
    assert line[1:] == [f"{values.mean():.3f}" for values in made.values["loss"][0]]
    assert "50%" in text


def test_each_order_is_a_line_with_a_band(tmp_path: Path) -> None:
    made = study()
    (axes,) = study_figure(made).axes
    assert [line.get_label() for line in axes.lines] == list(ORDERS)
    np.testing.assert_allclose(axes.lines[2].get_ydata(), made.values["loss"][2].mean(axis=1))
    assert len(axes.collections) == 3
    assert not study_figure(study(1)).axes[0].collections
    assert axes.get_ylabel() == "test loss at step 8 (lower is better)"
    draw_study(made, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
