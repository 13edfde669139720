"""``compare --truth``: all runs of one recording teach, and those of another are scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.core import REPEAT, Dynamics, Example
from gptfl.core.runs import with_tests
from gptfl.designs.draws import DesignLayout, draw_runs
from gptfl.errors import DataError, UsageError
from gptfl.evaluation import truth as other_recording
from gptfl.evaluation.truth import open_truth
from gptfl.recording.recording import open_recording
from gptfl.scores.comparison import Comparison
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

LAW = {"steps": 24, "every": 8, "test": 6, "example_effect": 4.0, "noise": 0.001}


def truth_of(runs: int = 24) -> Dynamics:
    """The whole pool of 24 less groups of three, each in two orders."""
    layout = DesignLayout("leave-small", 24, 24, 5, np.array([], dtype=np.int64), swapped=3)
    dynamics, _ = synthetic(drawn=draw_runs(layout, runs), **LAW)
    return replace(dynamics, settings={"task": "synthetic", "design": "leave-small"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dynamics, features = synthetic(28, **LAW)
    write_dynamics(tmp_path / "syn.dynamics.h5", dynamics)
    write_features(tmp_path / "syn.synthetic.features.h5", features)
    (tmp_path / "apart").mkdir()
    return tmp_path


def against(folder: Path, truth: Dynamics, **options: object) -> Comparison:
    path = folder / "apart" / "truth.dynamics.h5"
    write_dynamics(path, truth)
    chosen = {"estimators": ["exposure-gp"], "truth": path, "figure": False, **options}
    return compare(dynamics=folder / "syn.dynamics.h5", **chosen)


def test_what_is_left_out_is_predicted_from_subsets(folder: Path) -> None:
    table = against(folder, truth_of())
    assert table.fit_runs + table.validation_runs == 28
    assert table.held_out.names == tuple(f"run-{index:04d}" for index in range(24))
    assert len(np.unique(table.held_out.sampling.units)) == 12
    rows = {row.estimator: row for row in table.rows}
    found = rows["exposure-gp"].removals
    assert found is not None
    # The law is linear in exposures and the features are those that it is made of.
    assert found.slope == pytest.approx(1.0, abs=0.25)
    assert found.lds > 0.8
    assert found.signs == found.clear > 0
    assert rows["mean-run"].removals is not None
    assert rows["mean-run"].removals.lds == 0
    assert table.notes[0].startswith("held out: all runs of ")


def test_other_orders_of_the_examples_change_nothing(folder: Path) -> None:
    truth = truth_of()
    usual = against(folder, truth)
    random = np.random.default_rng(0)
    pool, tests = random.permutation(24), random.permutation(6)
    back = np.argsort(pool)
    moved = with_tests(truth, tests)
    runs = tuple(
        replace(
            run,
            curriculum=replace(
                run.curriculum, batches=np.where(run.curriculum.batches >= 0, back[run.curriculum.batches], -1)
            ),
        )
        for run in moved.runs
    )
    other = against(folder, replace(moved, pool=tuple(truth.pool[place] for place in pool), runs=runs))
    np.testing.assert_array_equal(other.held_out.recorded, usual.held_out.recorded)
    for name, values in usual.predicted.items():
        np.testing.assert_allclose(other.predicted[name], values, rtol=1e-9)


def test_what_is_of_other_examples_or_weights_is_refused(folder: Path) -> None:
    truth = truth_of(6)
    stranger = replace(truth, pool=(replace(truth.pool[0], id="other"), *truth.pool[1:]))
    with pytest.raises(DataError, match=r"pool example 'other' of truth.dynamics.h5 isn't in syn.dynamics.h5: record"):
        against(folder, stranger)
    old = truth.test[0]
    reworded = replace(truth, test=(Example(old.id, "Another:", old.target, old.choices, old.label), *truth.test[1:]))
    with pytest.raises(DataError, match=r"test example 'test-0' of syn.dynamics.h5 has another content in truth"):
        against(folder, reworded)
    with pytest.raises(DataError, match=r"test example 'test-5' of syn.dynamics.h5 isn't in truth.dynamics.h5"):
        against(folder, with_tests(truth, np.arange(5)))
    dynamics, _ = synthetic(28, **LAW)
    write_dynamics(folder / "syn.dynamics.h5", replace(dynamics, settings={**dynamics.settings, "weights": "a"}))
    with pytest.raises(DataError, match=r"its runs start from other weights"):
        against(folder, replace(truth, settings={**truth.settings, "weights": "b"}))


def test_what_divides_the_runs_goes_with_no_truth(folder: Path) -> None:
    truth = truth_of(6)
    with pytest.raises(UsageError, match="--folds 3 with --truth"):
        against(folder, truth, folds=3)
    with pytest.raises(UsageError, match="--unseen train with --truth"):
        against(folder, truth, unseen="train")
    with pytest.raises(UsageError, match="is the recording that is fitted: name another, or use --folds"):
        compare(dynamics=folder / "syn.dynamics.h5", truth=folder / "syn.dynamics.h5", figure=False)


def test_folds_of_one_recording_score_its_removals_where_both_runs_are_in_a_fold(folder: Path) -> None:
    table = against(folder, truth_of(6))
    assert all(row.removals is None for row in table.rows)  # two groups are too few


def test_runs_are_told_in_the_places_of_the_recording_that_teaches(folder: Path) -> None:
    path = folder / "apart" / "truth.dynamics.h5"
    truth = truth_of(4)
    write_dynamics(path, replace(truth, pool=truth.pool[::-1], test=truth.test[::-1]))
    ours, theirs = (open_recording(one, None) for one in (folder / "syn.dynamics.h5", path))
    found = open_truth(theirs, ours, ours.dynamics.metrics["loss"]).dynamics
    assert (found.pool, found.test) == (ours.dynamics.pool, ours.dynamics.test)
    for run, other in zip(found.runs, theirs.dynamics.runs, strict=True):
        np.testing.assert_array_equal(run.metrics["loss"], other.metrics["loss"][:, ::-1])
        for batch, given in zip(run.curriculum.batches, other.curriculum.batches, strict=True):
            assert [found.pool[place].id for place in batch if place >= 0] == [
                theirs.dynamics.pool[place].id for place in given if place >= 0
            ]


def test_repeats_are_not_scored_whatever_else_is() -> None:
    runs = [
        replace(run, role=role)
        for run, role in zip(truth_of(4).runs, ("fit", REPEAT, "test", "validation"), strict=True)
    ]
    assert [run.index for run in other_recording.tested(runs)] == [0, 2, 3]
    assert other_recording.tested([]) == []
