"""Vectors of examples beside those of a recording."""

from pathlib import Path

import numpy as np

from gptfl.core import Example, silent
from gptfl.features.extend import beside
from gptfl.features.featurize import featurize
from gptfl.recording.recording import open_recording
from gptfl.store.features import read_features
from gptfl.store.recordings import read_dynamics
from tests.recording.test_collect import record


def test_answer_state_embeds_new_examples_by_the_recorded_model(neox: Path, tmp_path: Path) -> None:
    path = record(neox, tmp_path, runs=1).path
    result = featurize("answer-state", workspace=tmp_path, settings={"dimensions": 12})
    features = read_features(result.path)
    assert features.identity["weights"] == read_dynamics(path).settings["weights"]
    assert features.seconds is not None
    losses = read_dynamics(path).runs[0].metrics["loss"][0]
    np.testing.assert_allclose(features.sets["statistics"].test[:, 0], losses, rtol=1e-4)
    recording = open_recording(path)
    new = Example("new", recording.dynamics.pool[3].prompt, recording.dynamics.pool[3].target)
    more = beside(features, (new,), (), recording, silent)
    for name, one in more.sets.items():
        np.testing.assert_allclose(one.train[-1], features.sets[name].train[3], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(one.test, features.sets[name].test)
