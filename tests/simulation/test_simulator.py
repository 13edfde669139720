"""Opens a simulator with the recording that it was fitted to, and refuses what doesn't belong together."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.queries import query_for
from gptfl.errors import DataError, UsageError
from gptfl.simulation.fit import fit
from gptfl.simulation.simulator import check_fits, fit_notes, in_memory, open_fitted
from gptfl.simulation.unseen import Scope
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator, write_simulator
from tests.synthetic import LOSS, synthetic


@pytest.fixture
def folder(source_of, tmp_path):
    """A workspace with the recording and the mean-run of it, to be changed."""
    source = source_of("mean-run")
    shutil.copy(source.recording.path, tmp_path)
    shutil.copy(source.path, tmp_path)
    return tmp_path


def rewritten(folder, **info):
    """The folder's simulator with these things told of its fit."""
    (path,) = folder.glob("*mean-run*")
    found = read_simulator(path)
    write_simulator(path, replace(found, info={**found.info, **info}))
    return path


def test_a_simulator_of_something_else_is_refused(source_of):
    source = source_of("mean-run")
    check_fits(source.path, source.found, None, None)
    check_fits(source.path, source.found, "mean-run", "loss")
    with pytest.raises(
        UsageError, match="is a simulator of mean-run, not gptfluence: leave out --estimator, or choose"
    ):
        check_fits(source.path, source.found, "gptfluence", None)
    with pytest.raises(UsageError, match="is a simulator of loss, not bleu: leave out --metric, or choose"):
        check_fits(source.path, source.found, None, "bleu")


def test_what_is_opened_predicts_as_what_was_fitted(source_of):
    source = source_of("class-share")
    query = query_for(source.recording.dynamics.runs[:2], LOSS)
    again = in_memory(source.recording, source.path, source.found, source.named, None)
    np.testing.assert_array_equal(again.predict(query).values, source.predict(query).values)
    with pytest.raises(DataError, match=r"no simulator of estimator größe for syn in .*: run gptfl fit --estimator"):
        open_fitted(None, None, source.recording.workspace.root, "größe", None)


def test_a_recording_that_changed_is_refused(folder):
    open_fitted(None, None, folder, None, None)
    dynamics, _ = synthetic(12, pool=10, test=5, steps=6, every=2, batch_size=2, subset=6, noise=0.006)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    with pytest.raises(
        DataError, match=r"syn\.dynamics\.h5 has changed since .* was fitted to it: run gptfl fit again"
    ):
        open_fitted(None, None, folder, None, None)
    write_dynamics(folder / "syn.dynamics.h5", synthetic(4)[0])
    with pytest.raises(DataError, match=r"was fitted to other examples than .* holds: choose with --dynamics"):
        open_fitted(None, None, folder, None, None)


def test_a_recording_that_is_gone_is_asked_for(folder):
    (path,) = folder.glob("*mean-run*")
    (folder / "syn.dynamics.h5").rename(folder / "größe.dynamics.h5")
    with pytest.raises(DataError, match=r"was fitted to is not at .*syn\.dynamics\.h5: name it with --dynamics"):
        open_fitted(path, None, None, None, None)
    assert open_fitted(path, folder / "größe.dynamics.h5", None, None, None).found.estimator == "mean-run"


@pytest.mark.parametrize("every", [0, "2", None, True, 1.0])
def test_damage_in_what_it_was_fitted_to_is_one_line(folder, every):
    path = rewritten(folder, every=every)
    with pytest.raises(DataError, match=r"is damaged: it was fitted to every .*-th score: run gptfl fit again"):
        open_fitted(path, None, None, None, None)


def test_notes_of_the_fit_are_told_again(folder):
    path = rewritten(folder, notes=["größe", 3])
    assert open_fitted(path, None, None, None, None).notes == ("größe", "3")
    found = read_simulator(path)
    assert fit_notes(replace(found, info={"notes": "abc"})) == fit_notes(replace(found, info={})) == ()


def test_a_recording_without_a_simulator_names_those_that_have_one(folder):
    write_dynamics(folder / "other.dynamics.h5", synthetic(4)[0])
    with pytest.raises(DataError, match=r"no such simulator was fitted to .*other\.dynamics\.h5: .*syn\.dynamics\.h5"):
        open_fitted(None, folder / "other.dynamics.h5", None, None, None)


def test_a_recording_is_read_once_for_many(source_of):
    source = source_of("mean-run")
    read = {}
    one = open_fitted(source.path, None, None, None, None, read=read)
    other = open_fitted(source.path, None, None, None, None, read=read)
    assert one.recording.dynamics is other.recording.dynamics
    assert open_fitted(source.path, None, None, None, None).recording.dynamics is not one.recording.dynamics


def test_test_examples_are_marked_by_where_they_come_from(source_of):
    source = source_of("mean-run")
    assert source.marks() == ("",) * 5
    scope = source.scope
    extra = replace(scope.test[0], id="neu")
    wider = Scope(scope.pool, (*scope.test, extra), scope.pool_seen, np.array([0, -1, 2, 3, 4, -1]), None)
    assert replace(source, scope=wider).marks() == ("", "unseen", "", "", "", "new")
    assert replace(source, scope=wider).world.test[-1].id == "neu"


def test_the_simulator_of_the_recording_made_last_is_taken(folder):
    fit("class-share", workspace=folder)
    assert open_fitted(None, None, folder, None, None).found.estimator == "class-share"
    assert open_fitted(None, None, folder, "mean-run", None).found.estimator == "mean-run"
