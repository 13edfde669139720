"""Which runs and steps a fit takes: pieces, gaps, other steps, runs that end early and copies."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import (
    Curriculum,
)
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.worlds import (
    RECORDED,
    TEST,
    at,
    begun,
    blank,
    question,
    recorded,
    skill,
    world,
)


def test_pieces_of_runs_of_which_the_beginning_is_not_known_are_left_out_and_named():
    data, runs = world(runs=8)
    piece = begun(data.fit_runs[7], 2)
    piece = replace(piece, curriculum=blank(piece.curriculum, 8), metrics={"loss": piece.metrics["loss"] + 100})
    query = question(runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs[:7], piece)))
    without = ExposureGp().fit(replace(data, fit_runs=data.fit_runs[:7]))
    np.testing.assert_array_equal(fitted.predict(query).values, without.predict(query).values)
    assert fitted.notes_ == (
        "exposure-gp: left out 1 of 8 runs or pieces of runs: they begin after step 0, and it isn't known on what was "
        "trained before (run-0007)",
    )
    assert without.notes_ == ()


def test_runs_recorded_from_another_step_on_count_from_there():
    data, runs = world(runs=24, queried=12)
    late = tuple(run if number < 2 else begun(run, 1) for number, run in enumerate(data.fit_runs))
    fitted, whole = (ExposureGp().fit(replace(data, fit_runs=some)) for some in (late, data.fit_runs))
    members = [step.members.tolist() for step, _ in fitted.model_.solved]
    assert members == [[0, 1], *[list(range(24))] * 4]
    assert fitted.notes_ == (
        "exposure-gp: 22 of 24 runs have no score at step 0 and count from their first one on (run-0002, run-0003, "
        "run-0004, run-0005, run-0006, run-0007 and 16 more)",
    )
    one, other = (estimator.predict(question(runs)).values for estimator in (fitted, whole))
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("missing", ["tail", "diverged", "first"])
def test_what_a_run_lacks_is_not_taken_for_what_others_did(missing):
    """Half of the runs are the others' mean where they end, if that is filled in: effects would come to half."""
    data, runs = world(runs=16, queried=12)
    gone = np.full((len(RECORDED), TEST), False)
    gone[{"tail": slice(3, None), "diverged": slice(3, None), "first": slice(0, 1)}[missing]] = True
    if missing == "first":
        gone[:, 1:] = False
    lost = np.inf if missing == "diverged" else np.nan
    holed = tuple(
        replace(run, metrics={"loss": np.where(gone, lost, run.metrics["loss"])}) if number % 2 else run
        for number, run in enumerate(data.fit_runs)
    )
    fitted = ExposureGp().fit(replace(data, fit_runs=holed))
    kept = ExposureGp().fit(replace(data, fit_runs=holed[::2]))
    query = question(runs)
    ours, theirs = fitted.predict(query), kept.predict(query)
    mean = MeanRun().fit(data).predict(query).values
    assert skill(ours.values, recorded(runs), mean) > skill(theirs.values, recorded(runs), mean) - 0.02
    members = [len(step.members) for step, _ in fitted.model_.solved]
    assert members == ([16] * 5 if missing == "first" else [16, 16, 16, 8, 8])
    assert ("8 scores are missing" in "".join(fitted.notes_)) == (missing == "first")


def test_runs_recorded_at_other_steps_count_where_they_share_them():
    data, runs = world(runs=12)
    sparse = tuple(at(run, [0, 2, 4]) if number < 6 else run for number, run in enumerate(data.fit_runs))
    fitted = ExposureGp().fit(replace(data, fit_runs=sparse))
    assert [len(step.members) for step, _ in fitted.model_.solved] == [12, 6, 12, 6, 12]
    assert fitted.notes_ == ()
    alone = (*(at(run, [0, 2, 4]) for run in data.fit_runs[:-1]), data.fit_runs[-1])
    fitted = ExposureGp().fit(replace(data, fit_runs=alone))
    assert fitted.steps_.tolist() == [0, 8, 16]
    assert fitted.notes_ == ("exposure-gp: left out 2 steps (4, 12), which a single run recorded",)
    stranger = replace(data.fit_runs[0], steps=np.array([3, 7]), metrics={"loss": recorded(runs)[0, :2]})
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs[1:], stranger)))
    assert "left out run-0000, recorded at no step that another run was recorded at" in "".join(fitted.notes_)
    assert len(fitted.model_.even) == 11


def test_steps_beyond_the_scores_of_a_test_example_are_left_out_and_told():
    data, _ = world(runs=6)

    def cut(run):
        values = run.metrics["loss"].copy()
        values[3:, 5] = np.nan
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(cut(run) for run in data.fit_runs)))
    assert fitted.steps_.tolist() == [0, 4, 8]
    assert fitted.notes_ == (
        "exposure-gp: left out 2 steps (12, 16), where no run has a loss of every test example (such as 'test-5')",
    )


def test_where_too_much_is_missing_the_runs_that_lack_the_most_are_left_out(monkeypatch):
    data, _ = world(runs=10)
    monkeypatch.setattr("gptfl.estimators.exposure_gp.recorded.CELLS", 4)

    def holed(number, run):
        values = run.metrics["loss"].copy()
        values[2, : number % 4] = np.nan
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(map(holed, range(10), data.fit_runs))))
    assert fitted.model_.solved[2][0].members.tolist() == [0, 1, 4, 5, 8, 9]
    assert fitted.notes_[-1] == "exposure-gp: left out 22 scores at steps at which more than 4 are missing"


def test_the_same_run_again_to_the_last_bit_counts_once():
    data, runs = world(runs=8)
    fitted = ExposureGp().fit(replace(data, fit_runs=(*data.fit_runs, data.fit_runs[2])))
    once = ExposureGp().fit(data)
    np.testing.assert_array_equal(fitted.predict(question(runs)).values, once.predict(question(runs)).values)
    assert fitted.notes_ == (
        "exposure-gp: 1 of 9 runs are another one again, with the same batches and scores, and count once (run-0002)",
    )


def test_runs_that_end_early_count_for_as_long_as_they_last():
    data, runs = world(runs=8)
    short = tuple(
        replace(
            run,
            curriculum=Curriculum(run.curriculum.batches[:8], run.curriculum.learning_rates[:8]),
            steps=run.steps[:3],
            metrics={"loss": run.metrics["loss"][:3]},
        )
        for run in data.fit_runs[:4]
    )
    mixed = ExposureGp().fit(replace(data, fit_runs=(*short, *data.fit_runs[4:])))
    predicted, whole = mixed.predict(question(runs)), ExposureGp().fit(data).predict(question(runs))
    assert mixed.model_.solved[2][0].members.tolist() == list(range(8))
    assert mixed.model_.solved[3][0].members.tolist() == [4, 5, 6, 7]
    widths = [(one.intervals[0.9][1] - one.intervals[0.9][0])[:, -1].mean() for one in (predicted, whole)]
    assert widths[0] > widths[1]


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_gaps_in_a_recording_are_bridged(share):
    data, runs = world(runs=10)
    random = np.random.default_rng(0)

    def gaps(values):
        return np.where(random.random(values.shape) < share, np.nan, values)

    holed = tuple(replace(run, metrics={"loss": gaps(run.metrics["loss"])}) for run in data.fit_runs)
    # The first score of a run and its last may be missing as well; some test examples are known of few runs.
    fitted = ExposureGp().fit(replace(data, fit_runs=holed))
    query = question(runs)
    query = replace(query, steps=np.union1d(query.steps[:1], fitted.steps_))
    predicted = fitted.predict(query)
    assert np.isfinite(predicted.values).all()
    assert np.isfinite(predicted.intervals[0.9]).all()


def test_a_gap_that_all_runs_have_is_bridged():
    data, runs = world(runs=4)
    holed = []
    for number, run in enumerate(data.fit_runs):
        values = run.metrics["loss"].copy()
        # Two runs know the beginning of a test example, the others its end.
        values[2 if number < 2 else 0 : None if number < 2 else 3, 5] = np.nan
        holed.append(replace(run, metrics={"loss": values}))
    assert np.isfinite(ExposureGp().fit(replace(data, fit_runs=tuple(holed))).predict(question(runs)).values).all()


@pytest.mark.parametrize("settings", [{}, {"features": False}])
def test_runs_of_the_same_curriculum_are_no_trouble(settings):
    data, runs = world(runs=4)
    same = tuple(replace(run, curriculum=data.fit_runs[0].curriculum) for run in data.fit_runs)
    predicted = ExposureGp(**settings).fit(replace(data, fit_runs=same)).predict(question(runs))
    assert np.isfinite(predicted.values).all()
    assert (predicted.values < 20).all()
    flat = tuple(replace(run, metrics={"loss": np.full_like(run.metrics["loss"], 2.0)}) for run in data.fit_runs)
    predicted = ExposureGp(**settings).fit(replace(data, fit_runs=flat)).predict(question(runs))
    np.testing.assert_allclose(predicted.values[:, 1:], 2.0)
