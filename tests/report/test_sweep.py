"""A sweep as a table, for programs, and as the figure of an ablation."""

import csv
import json
from pathlib import Path

import pytest

from gptfl.errors import UsageError
from gptfl.report.sweep import (
    MOST_LINES,
    check_sweep_format,
    draw_sweep,
    records,
    reference_mse,
    sweep_csv,
    sweep_figure,
    sweep_json,
    sweep_table,
    write_sweep,
)
from tests.report.made import comparison, printed, sweep_of


def test_every_combination_is_a_line() -> None:
    found = records(sweep_of(0.5, 2.0))
    assert [(one["scale"], one["kind"], one["mse"], one["mse_std"]) for one in found] == [
        (0.5, "a", 0.5, 0.1),
        (0.5, "b", 1.5, 0.1),
        (2.0, "a", 2.0, 0.1),
        (2.0, "b", 3.0, 0.1),
    ]
    rows = comparison().rows
    assert {one["mean_run_mse"] for one in found} == {rows[0].scores["mse"].value} == {reference_mse(rows)}
    assert reference_mse(rows[1:]) is None
    text = printed(sweep_table(sweep_of(0.5, 2.0)), 200)
    assert sum(line.split()[:1] in (["0.5"], ["2.0"]) for line in text.splitlines()) == 4
    assert "good_one; loss of a_b.dynamics.h5" in text


def test_files_have_the_format_of_their_suffix(tmp_path: Path) -> None:
    made = sweep_of(0.5, 2.0)
    write_sweep(made, tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["axes"] == {"scale": [0.5, 2.0], "kind": ["a", "b"]}
    assert document["points"] == json.loads(sweep_json(made))["points"]
    write_sweep(made, tmp_path / "a.csv")
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [float(line["mse"]) for line in lines] == [0.5, 1.5, 2.0, 3.0]
    assert (tmp_path / "a.csv").read_text() == sweep_csv(made)
    with pytest.raises(UsageError, match=r"--output .*a\.tex is no table of a sweep: let its name end in \.json or"):
        check_sweep_format(tmp_path / "a.tex")


def test_the_first_axis_runs_along_and_the_others_are_lines(tmp_path: Path) -> None:
    figure = sweep_figure(sweep_of(0.5, 2.0))
    panel = figure.axes[0]
    assert panel.get_title() == "MSE (lower is better)"
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["0.5", "2.0"]
    assert [one.get_label() for one in panel.containers] == ["kind=a", "kind=b"]
    heights = [list(one.lines[0].get_ydata()) for one in panel.containers]
    assert heights == [[0.5, 2.0], [1.5, 3.0]]
    assert panel.get_legend_handles_labels()[1][0] == "mean-run"
    draw_sweep(sweep_of(1.0), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert len(heights) < MOST_LINES
