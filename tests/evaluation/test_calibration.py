"""What ``compare`` says of intervals, and of scores observed along a run."""

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from gptfl.api.compare import compare
from gptfl.core import FitData, Prediction
from gptfl.core.queries import query_for
from gptfl.errors import PluginError
from gptfl.plugins.guards import checked
from gptfl.plugins.registry import build, using
from gptfl.report.calibration import calibration_table
from gptfl.report.comparison import rich_table, to_csv, to_json, to_latex
from gptfl.store.recordings import write_dynamics
from tests import interval_estimator
from tests.synthetic import synthetic


@pytest.fixture
def space(made_space, tmp_path):
    shutil.copy2(made_space / "syn.dynamics.h5", tmp_path)
    with using(build([interval_estimator])):
        yield tmp_path


def rows_of(comparison):
    return {row.estimator: row for row in comparison.rows}


def printed(table, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()


def fitted(runs):
    dynamics, _ = synthetic(24)
    return interval_estimator.Sure().fit(FitData(dynamics.pool, dynamics.test, dynamics.metrics["loss"], tuple(runs)))


def test_coverage_is_that_of_all_folds_together(space):
    dynamics, _ = synthetic(24)
    comparison = compare(workspace=space, estimators=["sure", "unsure"], folds=3, figure=False)
    rows = rows_of(comparison)
    assert rows["unsure"].coverage == rows["mean-run"].coverage == {}
    inside, widths = {0.5: [], 0.9: []}, {0.5: [], 0.9: []}
    for run in dynamics.runs:
        learned = [other for other in dynamics.runs if other.index % 3 != run.index % 3]
        bounds = fitted(learned).predict(query_for([run], dynamics.metrics["loss"])).intervals
        for level, (low, high) in bounds.items():
            truth = run.metrics["loss"][1:]
            inside[level].append((low[0, 1:] <= truth) & (truth <= high[0, 1:]))
            widths[level].append(high[0, 1:] - low[0, 1:])
    for level, found in rows["sure"].coverage.items():
        assert found.share == pytest.approx(np.mean(inside[level]))
        assert found.width == pytest.approx(np.mean(widths[level]))
    assert 0.8 < rows["sure"].coverage[0.9].share < 1
    document = json.loads(to_json(comparison))
    by_name = {row["estimator"]: row for row in document["estimators"]}
    assert by_name["sure"]["coverage"]["0.9"]["share"] == pytest.approx(np.mean(inside[0.9]))
    assert "coverage" not in by_name["unsure"]
    table = printed(calibration_table(comparison))
    assert "inside 50 %" in table
    assert "inside 90 %" in table
    assert "unsure" not in table
    lines = {row["estimator"]: row for row in csv.DictReader(io.StringIO(to_csv(comparison)))}
    assert float(lines["sure"]["inside_90"]) == pytest.approx(np.mean(inside[0.9]))
    assert lines["unsure"]["inside_90"] == ""
    low, high = rows["sure"].coverage[0.9].interval
    assert low < rows["sure"].coverage[0.9].share < high
    assert by_name["sure"]["coverage"]["0.9"]["interval"] == [low, high]
    assert rf"\% [{100 * low:.0f}, {100 * high:.0f}] inside 90 \% (mean width" in to_latex(comparison)
    assert f"[{100 * low:.0f}, {100 * high:.0f}]" in table


def test_without_intervals_nothing_is_said_of_them(space):
    comparison = compare(workspace=space, estimators=["unsure"], figure=False)
    assert calibration_table(comparison) is None
    assert "inside" not in to_csv(comparison)
    assert "coverage" not in to_json(comparison)


def test_a_mixture_has_the_coverage_of_each_task(space):
    dynamics, _ = synthetic(24)
    test = tuple(replace(e, fields={"task": "odd" if i % 2 else "even"}) for i, e in enumerate(dynamics.test))
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, test=test))
    row = rows_of(compare(workspace=space, estimators=["sure"], figure=False))["sure"]
    assert set(row.coverage_by_task) == {"even", "odd"}
    parts = [row.coverage_by_task[task][0.9] for task in ("even", "odd")]
    whole = row.coverage[0.9]
    assert sum(one.points for one in parts) == whole.points
    assert sum(one.points * one.share for one in parts) == pytest.approx(whole.points * whole.share)
    assert row.of_tasks()["odd"].coverage == row.coverage_by_task["odd"]


def test_observed_scores_are_reported_and_count_for_nobody(space):
    dynamics, _ = synthetic(24)
    plain = compare(workspace=space, estimators=["sure", "unsure"], figure=False)
    observed = compare(workspace=space, estimators=["sure", "unsure"], observe=2, figure=space / "told.png")
    assert observed.figure.read_bytes()[:4] == b"\x89PNG"
    held = observed.held_out
    tested = dynamics.with_role("test")
    truth = np.stack([run.metrics["loss"] for run in tested])
    np.testing.assert_array_equal(held.given[:, 1:3], truth[:, 1:3])
    assert np.isnan(held.given[:, [0, 3, 4, 5, 6]]).all()
    assert np.isnan(held.recorded[:, 1:3]).all()
    np.testing.assert_array_equal(held.recorded[:, 3:], truth[:, 3:])
    rows = rows_of(observed)
    error = ((observed.predicted["unsure"] - truth) ** 2)[:, 3:]
    assert rows["unsure"].scores["mse"].value == pytest.approx(error.mean())
    np.testing.assert_array_equal(observed.predicted["unsure"], plain.predicted["mean-run"])
    np.testing.assert_allclose(observed.predicted["sure"][:, 2], truth[:, 2])
    assert rows["sure"].scores["skill"].value > rows["unsure"].scores["skill"].value == pytest.approx(0)
    assert rows["sure"].conditions
    assert not rows["mean-run"].conditions
    text = printed(rich_table(observed))
    assert "sure " in text
    assert "unsure ‡" in text
    assert "Observed: the first 2 recorded scores" in text.replace("\n", " ")
    assert r"unsure \textdaggerdbl{}" in to_latex(observed)
    by_name = {row["estimator"]: row for row in json.loads(to_json(observed))["estimators"]}
    assert by_name["sure"]["conditions"]
    assert not by_name["unsure"]["conditions"]
    assert json.loads(to_json(observed))["observed"] == 2
    assert "conditions" not in to_json(plain)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"intervals": {0.9: (np.zeros((1, 2, 2)), np.zeros((1, 3, 2)))}}, "intervals of shape"),
        ({"intervals": {1.5: (np.zeros((1, 3, 2)), np.zeros((1, 3, 2)))}}, "intervals of level 1.5"),
        ({"intervals": {0.9: (np.ones((1, 3, 2)), np.zeros((1, 3, 2)))}}, "above the upper one"),
        ({"intervals": {0.9: (np.full((1, 3, 2), np.nan), np.zeros((1, 3, 2)))}}, "not finite"),
        ({"novelty": np.array([1.5])}, "novelty"),
        ({"novelty": np.array([np.nan])}, "novelty"),
        ({"novelty": np.array([0.1, 0.2])}, "novelty"),
    ],
)
def test_a_prediction_that_breaks_its_promise_is_refused(spoilt, message):
    dynamics, _ = synthetic(3, test=2, steps=2, every=1)
    query = query_for(dynamics.runs[:1], dynamics.metrics["loss"])
    with pytest.raises(PluginError, match=message):
        checked(Prediction(np.zeros((1, 3, 2)), **spoilt), query, "somebody")
