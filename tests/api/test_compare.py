import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gptfl.api.compare import compare
from gptfl.core import role_of
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.scores import pointwise
from gptfl.simulation import fitting
from gptfl.simulation.fit import fit
from gptfl.store.recordings import write_dynamics
from tests.plugin_estimators import Recall
from tests.synthetic import synthetic


def rows_of(comparison):
    return {row.estimator: row for row in comparison.rows}


def test_the_honest_floor_is_always_there(space):
    comparison = compare(workspace=space, estimators=["recall"], figure=False)
    assert [row.estimator for row in comparison.rows] == ["persistence", "mean-run", "class-share", "recall"]
    assert comparison.left_out == {}
    assert comparison.runs == sum(role_of(i) == "test" for i in range(24))
    assert rows_of(comparison)["mean-run"].scores["skill"].value == 0.0
    assert rows_of(comparison)["class-share"].scores["skill"].value > 0.3
    assert comparison.figure is None


def test_scores_match_the_recorded_runs(space):
    dynamics, _ = synthetic(24)
    comparison = compare(workspace=space, estimators=[], figure=False)
    recorded = np.stack([run.metrics["loss"] for run in dynamics.with_role("test")])
    learned = np.mean([run.metrics["loss"] for run in dynamics.runs if run.role != "test"], axis=0)
    np.testing.assert_allclose(comparison.held_out.mean_run[:, 1:], np.broadcast_to(learned, recorded.shape)[:, 1:])
    persistence = np.repeat(recorded[:, :1], recorded.shape[1], axis=1)
    row = rows_of(comparison)["persistence"]
    assert row.scores["mse"].value == pytest.approx(pointwise.all_steps_mse(persistence, recorded).mean())
    assert row.scores["rho"].value == pytest.approx(
        np.mean([stats.spearmanr(a, b).statistic for a, b in zip(recorded[:, 0], recorded[:, -1], strict=True)])
    )


def test_folds_test_every_run_against_the_mean_of_its_own_fold(space):
    dynamics, _ = synthetic(24)
    comparison = compare(workspace=space, estimators=[], folds=3, figure=False)
    held = comparison.held_out
    assert sorted(held.names) == [run.name for run in dynamics.runs]
    for place, name in enumerate(held.names):
        index = int(name[4:])
        assert held.folds[place] == index % 3
        learned = np.mean([r.metrics["loss"] for r in dynamics.runs if r.index % 3 != index % 3], axis=0)
        np.testing.assert_allclose(held.mean_run[place, 1:], learned[1:])
        np.testing.assert_array_equal(held.recorded[place], dynamics.runs[index].metrics["loss"])
    rows = rows_of(comparison)
    assert rows["persistence"].scores["lds"].value == rows["mean-run"].scores["lds"].value == 0.0
    assert rows["class-share"].scores["lds"].value > 0.3
    assert rows["class-share"].lds_reliable
    assert {"skill", "lds", "mse"} <= rows["class-share"].best


def test_everything_registered_takes_part_or_is_left_out_with_the_reason(space, registry):
    (space / "syn.synthetic.features.h5").unlink()
    comparison = compare(workspace=space, figure=False)
    assert "recall" in rows_of(comparison)
    assert set(comparison.left_out) == {"gptfluence", "exposure-gp", "featured", "greedy", "unmakeable"}
    assert "raised RuntimeError in its factory: no licence" in comparison.left_out["unmakeable"]
    assert "run gptfl featurize first" in comparison.left_out["gptfluence"]


def test_an_estimator_that_fails_is_a_row_and_the_rest_goes_on(space):
    names = ["crooked", "endless", "raising", "refusing", "forgetful", "recall"]
    seen = []
    comparison = compare(
        workspace=space, estimators=names, folds=2, figure=False, progress=lambda *report: seen.append(report)
    )
    rows = rows_of(comparison)
    assert "'crooked' of tests.plugin_estimators predicted values of shape" in rows["crooked"].error
    assert "predicted values that are not finite" in rows["endless"].error
    assert "raised ValueError in fit: no idea" in rows["raising"].error
    assert rows["refusing"].error == "there is too little to learn from: record more"
    assert "fit returned NoneType" in rows["forgetful"].error
    assert rows["recall"].error is None
    assert all(not rows[name].scores for name in names[:-1])
    assert [report[1] for report in seen] == sorted(report[1] for report in seen)
    assert seen[-1][1:3] == (18, 18)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"estimators": ["recal"]}, PluginError, "did you mean 'recall'"),
        ({"estimators": ["greedy"]}, DataError, "greedy needs checkpoints"),
        ({"settings": {"recall": {"scael": 1}}}, PluginError, "no setting 'scael'"),
        ({"estimators": [], "settings": {"recall": {}}}, UsageError, "'recall', which is not compared"),
        ({"folds": 1}, UsageError, "give at least 2"),
        ({"metric": "accuracy"}, DataError, "no metric 'accuracy'"),
        ({"output": "x.txt"}, UsageError, "no known suffix"),
        ({"figure": "x.h5"}, UsageError, "no known suffix for a picture"),
    ],
)
def test_what_was_asked_for_wrongly_stops_before_any_work(space, arguments, error, match):
    with pytest.raises(error, match=match):
        compare(workspace=space, **arguments)


def test_no_held_out_run_says_what_to_do(space):
    write_dynamics(space / "syn.dynamics.h5", synthetic(3)[0])
    with pytest.raises(DataError, match=r"no usable run is held out .* or give --folds 3$"):
        compare(workspace=space, estimators=[])
    write_dynamics(space / "syn.dynamics.h5", synthetic(1)[0])
    with pytest.raises(
        DataError, match=r"there is one usable run, and nothing of it can be held out .* gptfl fit and gptfl rank tell$"
    ):
        compare(workspace=space, estimators=[])


def test_fits_that_took_long_are_kept_and_taken_again(space, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", 0.0)
    Recall.fits = 0
    first = compare(workspace=space, estimators=["recall"], figure=False)
    second = compare(workspace=space, estimators=["recall"], figure=False)
    assert Recall.fits == 1
    assert not rows_of(first)["recall"].reused
    assert rows_of(second)["recall"].reused
    assert rows_of(first)["recall"].scores == rows_of(second)["recall"].scores
    assert not list(space.glob("*.simulator.h5"))
    compare(workspace=space, estimators=["recall"], settings={"recall": {"scale": 2.0}}, figure=False)
    assert Recall.fits == 2


def test_a_damaged_kept_fit_is_made_again(space, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_KEEPING", 0.0)
    compare(workspace=space, estimators=["recall"], figure=False)
    (kept,) = (space / fitting.KEPT).glob("syn.recall.*")
    kept.write_bytes(kept.read_bytes()[:100])
    row = rows_of(compare(workspace=space, estimators=["recall"], figure=False))["recall"]
    assert not row.reused
    assert "was fitted again" in row.notes[0]


def test_runs_longer_than_any_training_run_count_as_far_as_it_goes(space):
    dynamics, _ = synthetic(24)
    runs = [
        run if run.index == 3 else replace(run, steps=run.steps[:4], metrics={"loss": run.metrics["loss"][:4]})
        for run in dynamics.runs
    ]
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=tuple(runs)))
    comparison = compare(workspace=space, estimators=[], figure=False)
    assert comparison.held_out.recorded.shape[1] == 4
    assert any("run-0003 counts at 4 of its 7 recorded steps" in note for note in comparison.notes)


def test_different_grids_and_missing_values_are_compared(space):
    dynamics, _ = synthetic(24)
    runs = []
    for run in dynamics.runs:
        rows = np.arange(len(run.steps)) if run.index % 2 else np.array([0, 2, 4, 6])
        values = run.metrics["loss"][rows].copy()
        values[1, run.index % 8] = np.nan
        runs.append(replace(run, steps=run.steps[rows], metrics={"loss": values}))
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=tuple(runs)))
    comparison = compare(workspace=space, estimators=[], folds=3, figure=False)
    rows = rows_of(comparison)
    assert all(np.isfinite(rows[name].scores["mse"].value) for name in ("persistence", "mean-run", "class-share"))
    assert rows["class-share"].scores["skill"].value > 0.3


@pytest.mark.usefixtures("laid_out")
def test_the_same_call_gives_the_same_table_and_picture(space):
    outputs = []
    for _ in range(2):
        comparison = compare(workspace=space, estimators=["recall"], folds=2, output=space / "table.json")
        table = json.loads(comparison.output.read_text())
        for row in table["estimators"]:
            del row["seconds"]
        outputs.append((table, comparison.figure.read_bytes()))
    assert outputs[0] == outputs[1]
    assert comparison.figure == space / "syn.loss.comparison.png"


@pytest.mark.parametrize(("output", "figure"), [("a.json", "a.png"), ("a.csv", "a.pdf"), ("a.tex", "a.svg")])
def test_tables_and_pictures_overwrite_only_their_like(space, output, figure):
    targets = {"output": space / output, "figure": space / figure}
    for _ in range(2):
        compare(workspace=space, estimators=[], **targets)
    for flag, path in targets.items():
        path.write_bytes((space / "syn.dynamics.h5").read_bytes())
        before = {path: path.read_bytes() for path in space.glob("*.*")}
        with pytest.raises(DataError, match=f"{path.name}.*is not overwritten: give another --{flag}"):
            compare(workspace=space, estimators=[], **{flag: path})
        assert {path: path.read_bytes() for path in space.glob("*.*")} == before


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_file_holds_is_refused(space, seed):
    with pytest.raises(UsageError, match=f"seed is {seed}"):
        compare(workspace=space, estimators=["recall"], figure=False, seed=seed)
    with pytest.raises(UsageError, match=f"seed is {seed}"):
        fit("recall", workspace=space, seed=seed)


def test_every_learns_predicts_and_scores_at_every_kth_recorded_step(space):
    dynamics, _ = synthetic(24)
    comparison = compare(workspace=space, estimators=["recall"], every=4, figure=False)
    recorded = dynamics.with_role("test")[0].steps
    kept = recorded[sorted({*range(0, len(recorded), 4), len(recorded) - 1})]
    np.testing.assert_array_equal(comparison.held_out.steps[0], kept)
    assert {values.shape[1] for values in comparison.predicted.values()} == {len(kept)}
    with pytest.raises(UsageError, match="every is 0"):
        compare(workspace=space, every=0, figure=False)
    most = len(recorded) - 1
    with pytest.raises(UsageError, match=f"--every {most + 1}: no run has more than {most} recorded scores"):
        compare(workspace=space, every=most + 1, figure=False)


def test_a_mixture_is_scored_on_each_task(space):
    dynamics, _ = synthetic(24)
    sides = [
        tuple(
            replace(e, fields={"task": "qa"}) if i % 2 else replace(e, choices=(), label=None, fields={"task": "news"})
            for i, e in enumerate(side)
        )
        for side in (dynamics.pool, dynamics.test)
    ]
    write_dynamics(space / "mix.dynamics.h5", replace(dynamics, pool=sides[0], test=sides[1]))
    comparison = compare(dynamics=space / "mix.dynamics.h5", estimators=[], figure=False, output=space / "table.json")
    rows = rows_of(comparison)
    assert set(rows) == {"persistence", "mean-run", "class-share"}
    for row in rows.values():
        assert set(row.by_task) == {"news", "qa"}
        assert row.scores["mse"].value == pytest.approx(np.mean([own["mse"].value for own in row.by_task.values()]))
    alone = comparison.held_out.recorded[:, :, [1, 3, 5, 7]], comparison.predicted["class-share"][:, :, [1, 3, 5, 7]]
    assert rows["class-share"].by_task["qa"]["mse"].value == pytest.approx(pointwise.all_steps_mse(*alone).mean())
    written = json.loads((space / "table.json").read_text())["estimators"]
    assert all(set(row["by_task"]) == {"news", "qa"} for row in written)
