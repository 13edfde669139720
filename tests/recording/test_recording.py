import os
from dataclasses import replace

import pytest

from gptfl.core import MetricInfo
from gptfl.errors import DataError
from gptfl.features.lookup import find_features
from gptfl.recording.recording import choose_metric, open_recording
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic


def test_takes_the_recording_made_last_and_says_so(tmp_path):
    for age, name in ((20, "old"), (10, "new")):
        path = tmp_path / f"{name}.dynamics.h5"
        write_dynamics(path, synthetic(runs=2)[0])
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    recording = open_recording(workspace=tmp_path)
    assert recording.stem == "new"
    assert recording.notes == (
        "took new.dynamics.h5, the recording made last; choose another with --dynamics (also there: old.dynamics.h5)",
    )
    assert open_recording(tmp_path / "old.dynamics.h5").stem == "old"


def test_a_path_alone_makes_its_folder_the_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTFL_WORKSPACE", str(tmp_path / "elsewhere"))
    write_dynamics(tmp_path / "a.dynamics.h5", synthetic(runs=2)[0])
    recording = open_recording(tmp_path / "a.dynamics.h5")
    assert recording.workspace.root == tmp_path
    assert recording.notes == ()
    assert open_recording(tmp_path / "a.dynamics.h5", tmp_path / "w").workspace.root == tmp_path / "w"


def test_an_empty_workspace_names_the_command(tmp_path):
    with pytest.raises(DataError, match="run gptfl collect"):
        open_recording(workspace=tmp_path)


def test_features_are_those_of_the_recording_or_none(tmp_path):
    dynamics, features = synthetic(runs=2)
    write_dynamics(tmp_path / "a.dynamics.h5", dynamics)
    recording = open_recording(workspace=tmp_path)
    assert find_features(recording) == (None, ())
    write_features(tmp_path / "a.synthetic.features.h5", features)
    assert find_features(recording)[0].fingerprint == features.fingerprint
    assert find_features(recording, encoder="synthetic")[0].encoder == "synthetic"
    with pytest.raises(DataError, match="by the encoder 'minilm': run gptfl featurize --encoder minilm first"):
        find_features(recording, encoder="minilm")
    with pytest.raises(DataError, match="holds features of 'synthetic', not 'minilm'"):
        find_features(recording, tmp_path / "a.synthetic.features.h5", "minilm")


def test_features_of_other_examples_are_refused(tmp_path):
    write_dynamics(tmp_path / "a.dynamics.h5", synthetic(runs=2)[0])
    write_features(tmp_path / "a.synthetic.features.h5", synthetic(runs=2, pool=20)[1])
    with pytest.raises(DataError, match="run gptfl featurize again"):
        find_features(open_recording(workspace=tmp_path))


def test_metric_is_the_only_one_or_the_loss_or_asked_for():
    dynamics, _ = synthetic(runs=2)
    loss, accuracy, bleu = (MetricInfo(name, higher_is_better=True) for name in ("loss", "accuracy", "bleu"))
    assert choose_metric(dynamics)[0].name == "loss"
    two = replace(dynamics, metrics={"loss": loss, "accuracy": accuracy})
    chosen, notes = choose_metric(two)
    assert chosen is loss
    assert notes == ("took the metric loss; also recorded: accuracy (--metric)",)
    assert choose_metric(two, "accuracy") == (accuracy, ())
    with pytest.raises(DataError, match="no metric 'acuracy': did you mean 'accuracy'"):
        choose_metric(two, "acuracy")
    with pytest.raises(DataError, match="accuracy, bleu: choose one with --metric"):
        choose_metric(replace(dynamics, metrics={"bleu": bleu, "accuracy": accuracy}))
