"""Scores over the number of runs fitted to: table, files and figure."""

import csv
import json
from pathlib import Path

import pytest

from gptfl.report.learning_curve import (
    FLOOR,
    draw_runs_sweep,
    notes_of,
    runs_csv,
    runs_json,
    runs_sweep_figure,
    runs_table,
    write_runs_sweep,
)
from gptfl.scores.ceiling import Ceiling
from tests.report.made import curve_of, printed

CEILING = Ceiling(0.9, 0.5, 12, 6, (0.8, 0.95), (0.2, 0.7))


def test_what_failed_is_told_once_with_the_ceiling() -> None:
    notes = notes_of(curve_of(2, 4, ceiling=CEILING, notes=("a note",)))
    assert notes[0].startswith("Held out at every point: the same 2 runs. Skill is against the mean of all 20 runs")
    assert notes.count("broken failed: no [idea]: mend it") == 1
    assert any(note.startswith("Order-noise ceiling: skill 0.900 [0.80, 0.95], LDS 0.500") for note in notes)
    assert notes[-1] == "a note"


def test_a_line_for_each_estimator_and_number_of_runs() -> None:
    text = printed(runs_table(curve_of(2, 4)), 100)
    lines = [line.split() for line in text.splitlines()]
    good = [line for line in lines if line[:1] == ["good"]]
    assert [line[1] for line in good] == ["2", "4"]
    assert [next(cell for cell in line if cell in ("0.500", "0.750")) for line in good] == ["0.500", "0.750"]
    assert "no [idea]" in " ".join(text.split())


def test_files_say_what_recording_takes(tmp_path: Path) -> None:
    made = curve_of(2, 4, run_seconds=10.0, beside={"good": 5.0})
    document = json.loads(runs_json(made))
    costs = {(one["estimator"], one["runs"]): one["recording_seconds"] for one in document["points"]}
    assert (costs["good", 2], costs["good", 4], costs["mean-run", 4]) == (25.0, 45.0, 40.0)
    rows = list(csv.DictReader(runs_csv(made).splitlines()))
    assert [(row["estimator"], row["runs"]) for row in rows[1:3]] == [("mean-run", "4"), ("good", "2")]
    for name, text in (("a.json", runs_json(made) + "\n"), ("a.csv", runs_csv(made))):
        write_runs_sweep(made, tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("more", "lines"), [({}, 1), ({"run_seconds": 10.0}, 2)])
def test_scores_are_drawn_over_runs_and_what_they_cost(tmp_path: Path, more: dict, lines: int) -> None:
    figure = runs_sweep_figure(curve_of(4, 2, ceiling=CEILING, **more))
    assert len(figure.axes) == lines
    panel = figure.axes[0]
    assert panel.get_title() == "skill (higher is better)"
    good = next(one for one in panel.containers if one.get_label() == "good")
    assert list(good.lines[0].get_xdata()) == [2, 4]
    assert list(good.lines[0].get_ydata()) == [0.5, 0.75]
    if lines == 2:
        assert list(figure.axes[1].containers[0].lines[0].get_xdata()) == [20, 40]
    assert panel.get_ylim()[0] >= FLOOR
    draw_runs_sweep(curve_of(2), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
