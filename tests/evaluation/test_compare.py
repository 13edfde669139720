"""Every estimator held against the same held-out runs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.core.splits import Split
from gptfl.errors import UsageError
from gptfl.evaluation.compare import LONE, compare_held_out, still_note
from gptfl.options.base import make
from gptfl.options.evaluation import CompareOptions
from gptfl.plugins.registry import build, using
from gptfl.recording.recording import open_recording
from gptfl.report.comparison import to_json
from gptfl.report.footnotes import footnotes
from gptfl.scores.comparison import Predictions
from tests import interval_estimator


@pytest.fixture
def space(made_space, tmp_path):
    shutil.copy2(made_space / "syn.dynamics.h5", tmp_path)
    with using(build([interval_estimator])):
        yield tmp_path


def rows_of(comparison):
    return {row.estimator: row for row in comparison.rows}


def test_an_unfit_number_of_observed_scores_is_refused(space):
    with pytest.raises(UsageError, match=r"observe is -1: give"):
        compare(workspace=space, estimators=["sure"], observe=-1, figure=False)
    with pytest.raises(UsageError, match=r"--observe 6: no held-out run has more than 6 .*: give at most 5"):
        compare(workspace=space, estimators=["sure"], observe=6, figure=False)
    assert compare(workspace=space, estimators=["sure"], observe=5, figure=False).runs


def test_squared_errors_are_held_against_the_least_or_a_named_one(space):
    found = rows_of(compare(workspace=space, estimators=["unsure"], folds=4, figure=False))
    assert found["class-share"].excess.over == "class-share"
    assert found["mean-run"].excess.more > 0
    assert found["mean-run"].excess.clear
    named = compare(workspace=space, estimators=["unsure"], folds=4, against_estimator="mean-run", figure=False)
    rows = rows_of(named)
    assert rows["class-share"].excess.more == pytest.approx(-found["mean-run"].excess.more)
    assert rows["unsure"].excess.interval == (0.0, 0.0)
    line = next(note for note in footnotes(named) if note.startswith("Squared error beside that of mean-run"))
    assert "more: persistence" in line
    assert "less: class-share" in line
    assert "no clear difference: unsure" in line
    document = json.loads(to_json(named))["estimators"][0]["excess"]
    assert set(document) == {"squared_error", "over", "more", "interval", "clear"}
    with pytest.raises(UsageError, match=r"--against-estimator 'nobody' is not compared: name one of the rows: pers"):
        compare(workspace=space, against_estimator="nobody", figure=False)


def opened(space, runs=None):
    recording = open_recording(space / "syn.dynamics.h5", None)
    return recording if runs is None else replace(recording, dynamics=replace(recording.dynamics, runs=tuple(runs)))


def noted(space, runs):
    asked = make(CompareOptions, estimators=(), folds=2)
    return compare_held_out(opened(space, runs), asked).notes


def test_a_run_that_makes_most_of_the_error_is_named(space):
    runs = list(opened(space).dynamics.runs)
    assert not any("alone makes" in note for note in noted(space, runs))
    # Not so far out that it is left out as diverged.
    values = runs[5].metrics["loss"] + np.where(runs[5].steps > 0, 0.9, 0.0)[:, None]
    runs[5] = replace(runs[5], metrics={"loss": values})
    (note,) = (note for note in noted(space, runs) if "alone makes" in note)
    assert note.startswith("run-0005 alone makes ")
    assert note.endswith("% of mean-run's squared error: skill tells of little but that run")
    assert int(note.split()[3].rstrip("%")) > 100 * LONE


def test_several_comparisons_read_features_once(space, made_space, monkeypatch):
    shutil.copy2(made_space / "syn.synthetic.features.h5", space)
    read = {}
    asked = make(CompareOptions, estimators=("exposure-gp",))
    first = compare_held_out(opened(space), asked, read=read)
    assert len(read) == 1
    monkeypatch.setattr("gptfl.features.lookup.read_features", lambda *_: pytest.fail("read again"))
    again = compare_held_out(opened(space), asked, read=read)
    np.testing.assert_array_equal(first.predicted["exposure-gp"], again.predicted["exposure-gp"])
    assert not list(space.glob("*.json"))


def still_notes(runs, *predicted):
    names = [f"still-{number}" for number in range(len(predicted))]
    outcomes = [Predictions(name, values, name=name) for name, values in zip(names, predicted, strict=True)]
    first = np.repeat(runs[2].metrics["loss"][None, :1], len(runs[2].steps), axis=1)
    outcomes += [
        Predictions("persistence", first, name="persistence"),
        Predictions("broken", error="no", name="broken"),
    ]
    return still_note(outcomes, [Split(0, runs[:1], runs[1:2], runs[2:3])])


def test_an_estimator_that_predicts_no_change_at_all_is_named_with_the_reason(space):
    runs = opened(space).dynamics.runs[:3]
    values = runs[2].metrics["loss"].astype(np.float64)[None]
    still = np.repeat(values[:, :1], values.shape[1], axis=1)
    still[:, -1] = np.nan  # as where a run has fewer steps than others
    assert still_notes(runs, values) == ()
    (note,) = still_notes(runs, still, values)
    assert note == "still-0 predicts that no held-out run changes, as persistence does"
    apart = [
        replace(run, curriculum=replace(run.curriculum, batches=np.full_like(run.curriculum.batches, place)))
        for place, run in enumerate(runs)
    ]
    (note,) = still_notes(tuple(apart), still, still)
    assert note.startswith("still-0, still-1 predict that no held-out run changes, as persistence does: no example of")
    assert note.endswith("(gptfl collect --subset-size)")
    padded = [replace(run, curriculum=replace(run.curriculum, batches=run.curriculum.batches.copy())) for run in apart]
    for run in padded:
        run.curriculum.batches[0, 0] = -1
    assert still_notes(tuple(padded), still, still) == (note,), "an empty place of a batch is no example"
