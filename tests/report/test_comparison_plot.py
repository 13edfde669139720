from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from gptfl.core import MetricInfo
from gptfl.errors import UsageError
from gptfl.report.comparison_plot import draw_comparison, main_estimators, telling_trajectories
from gptfl.scores.comparison import Comparison, Predictions, score_rows
from gptfl.scores.held_out import HeldOut


def comparison(noises, runs=6):
    random = np.random.default_rng(0)
    truth = random.normal(size=(runs, 4, 5))
    truth[2, 2:] = np.nan
    steps = np.tile(np.arange(4), (runs, 1))
    names = tuple(f"run-{i:04d}" for i in range(runs))
    held = HeldOut(names, ("$a", *"bcde"), np.zeros(runs, dtype=int), steps, truth, np.zeros_like(truth))
    filled = np.nan_to_num(truth)
    outcomes = [Predictions(n, filled + size * random.normal(size=truth.shape)) for n, size in noises.items()]
    predicted = {o.estimator: o.predicted for o in outcomes}
    return Comparison("a.dynamics.h5", MetricInfo("loss", False), score_rows(held, outcomes), held, predicted, 5, 1)


def test_shows_the_best_by_skill_and_always_gptfluence():
    noises = {"mean-run": 0.1, "persistence": 0.1, "d": 4.0, "a": 0.2, "c": 0.4, "b": 0.3, "gptfluence": 9.0}
    assert main_estimators(comparison(noises)) == ["a", "b", "gptfluence"]
    del noises["gptfluence"]
    assert main_estimators(comparison(noises)) == ["a", "b", "c"]


def test_an_oracle_comes_after_what_predicts():
    made = comparison({"a": 0.2, "own": 0.1, "c": 0.4})
    rows = tuple(replace(row, oracle=row.estimator == "own") for row in made.rows)
    assert main_estimators(replace(made, rows=rows)) == ["a", "c", "own"]


def test_picks_the_largest_and_typical_deviations():
    made = comparison({"a": 0.1})
    chosen = telling_trajectories(made)
    final = np.abs(made.held_out.recorded[:, -1])
    final[2] = np.abs(made.held_out.recorded[2, 1])
    sizes = [final[run, test] for run, test, _ in chosen]
    assert sizes[0] == final.max()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] == pytest.approx(np.median(final), abs=0.1)


@pytest.mark.usefixtures("laid_out")
@pytest.mark.parametrize("noises", [{"a": 0.1, "b": 1000.0}, {"mean-run": 1.0}])
def test_draws_a_picture_with_and_without_main_estimators(tmp_path, noises):
    draw_comparison(comparison(noises), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.usefixtures("laid_out")
@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_formats_hold_no_date(tmp_path, suffix):
    made = comparison({"a": 0.1})
    draw_comparison(made, tmp_path / f"x{suffix}")
    assert b"CreationDate" not in (tmp_path / f"x{suffix}").read_bytes()
    with pytest.raises(UsageError, match="no known suffix for a picture"):
        draw_comparison(replace(made, notes=()), tmp_path / "x.txt")


@pytest.mark.usefixtures("laid_out")
def test_what_lies_beyond_the_edge_is_reported_above_the_panel_as_the_table_writes_it(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **settings: titles.append(text))
    draw_comparison(comparison({"a": 0.1, "b": 1000.0}), tmp_path / "x.png")
    near, far = titles[-2:]
    assert near.startswith("a\nskill 0.9")
    assert "edge" not in near
    assert far.startswith("b\nskill < -99")
    assert far.endswith(" beyond the edge")
