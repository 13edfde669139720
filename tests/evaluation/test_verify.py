"""Predictions held against trainings; tests/api/test_verify.py carries these out."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core.recording_settings import IMPORTED, OWN_RUN, RecordingSettings
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.verify import SAME_START, check_made_here, verified
from gptfl.scores import pointwise
from gptfl.scores.coverage import coverage
from gptfl.simulation.counterfactual import held_out_request
from gptfl.simulation.reference import against_average
from gptfl.simulation.simulator import FittedSimulator, open_fitted


@pytest.fixture(scope="module")
def source(made_space: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedSimulator:
    """A simulator of the synthetic recording, which no test changes."""
    space = Path(shutil.copytree(made_space, tmp_path_factory.mktemp("verify"), dirs_exist_ok=True))
    gptfl.fit("exposure-gp", workspace=space)
    return open_fitted(None, None, space, None, None)


def with_settings(source: FittedSimulator, **settings: Any) -> FittedSimulator:
    dynamics = replace(source.recording.dynamics, settings=RecordingSettings.of(settings))
    return replace(source, recording=replace(source.recording, dynamics=dynamics))


def checked(source: FittedSimulator, **changes: Any) -> Any:
    """The held-out runs as if they had been trained just now."""
    request = held_out_request(source)
    runs = [run for run in source.recording.dynamics.runs if run.name in request.labels]
    runs = [replace(run, metrics={"loss": run.metrics["loss"] + changes.get("shift", 0.0)}) for run in runs]
    prediction = source.predict(request.query)
    average = against_average(source, request)
    return verified(source, request, prediction, average, runs, 1.5), request, prediction, average, runs


def test_scores_are_those_of_the_recorded_runs(source: FittedSimulator) -> None:
    found, request, prediction, average, runs = checked(source)
    recorded = np.stack([run.metrics["loss"] for run in runs])
    np.testing.assert_array_equal(found.recorded, recorded)
    np.testing.assert_array_equal(found.predicted, prediction.values)
    assert found.mse == pytest.approx(pointwise.all_steps_mse(prediction.values, recorded).mean())
    means = np.broadcast_to(average.values, recorded.shape)
    assert found.skill == pytest.approx(pointwise.skill(prediction.values, recorded, means))
    assert found.coverage == {level: coverage(*bounds, recorded) for level, bounds in prediction.intervals.items()}
    ids = [example.id for example in source.recording.dynamics.pool]
    assert found.batches[0][0] == tuple(ids[place] for place in runs[0].curriculum.batches[0])
    assert (found.labels, found.seconds, found.binary) == (request.labels, 1.5, False)
    assert not any("nothing in an imported recording" in note for note in found.notes)


def test_where_the_average_run_is_not_known_there_is_no_skill(source: FittedSimulator) -> None:
    _, request, prediction, average, runs = checked(source)
    unknown = replace(average, values=np.full(average.values.shape, np.nan))
    found = verified(source, request, prediction, unknown, runs, 0.0)
    assert found.skill is None
    assert np.isfinite(found.mse)


@pytest.mark.parametrize("times", [0.5, 3.0])
def test_that_another_model_begins_elsewhere_is_said_of_an_import(source: FittedSimulator, times: float) -> None:
    imported = with_settings(source, task=IMPORTED, layout="gptdynamics")
    assert imported.recording.dynamics.settings.imported
    first = held_out_request(source).query.first
    notes = checked(imported, shift=times * SAME_START * float(np.abs(first).mean()))[0].notes
    (said,) = (note for note in notes if note.startswith("nothing in an imported recording says its model"))
    assert ("another model, or other tokens" in said) == (times > 1)


def test_a_recording_that_gptfl_did_not_train_is_not_trained_on(source: FittedSimulator) -> None:
    check_made_here(source)
    with pytest.raises(UsageError, match=r"--recipe a\.yaml is of imported recordings, and this one has its own"):
        check_made_here(source, "tiny", "a.yaml")
    imported = with_settings(source, task=IMPORTED, layout="gptdynamics")
    check_made_here(imported, "tiny", "a.yaml")
    for model, recipe in ((None, None), ("tiny", None), (None, "a.yaml")):
        with pytest.raises(DataError, match=r"was imported: gptfl knows no model and no recipe .*--model, --recipe"):
            check_made_here(imported, model, recipe)
    with pytest.raises(DataError, match="was recorded while you trained: gptfl can't carry out your recipe"):
        check_made_here(with_settings(source, task=OWN_RUN, made_by="recorder"), "tiny")
