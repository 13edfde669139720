"""The encoder of new rows' gradients: whose it is, and what it is refused for."""

from dataclasses import replace
from pathlib import Path

import pytest

from gptfl.core import silent
from gptfl.errors import DataError
from gptfl.features.featurize import featurize
from gptfl.features.new_gradients import NewGradients
from gptfl.recording.recording import open_recording
from gptfl.store.features import read_features
from tests.recording.test_collect import record


def test_it_is_the_encoder_of_the_recordings_sketches(neox: Path, tmp_path: Path) -> None:
    options = {"sketches": True, "sketch_dimensions": 8, "sketch_points": 1, "keep_reference": True, "runs": 1}
    record(neox, tmp_path, **options)
    recording, features = open_recording(None, tmp_path), read_features(featurize(workspace=tmp_path).path)
    encoder = NewGradients(features, recording, silent, None)
    assert encoder.identity() == features.identity
    found = encoder.encode(recording.dynamics.pool[:2], recording.dynamics.test[:1])
    assert {name: (one.train.shape, one.test.shape) for name, one in found.items()} == {"raw-0": ((2, 8), (1, 8))}
    other = replace(features, identity={**features.identity, "sketches": "0123"})
    with pytest.raises(
        DataError, match=r"the gradient features are not of the sketches that .* holds: run gptfl featur"
    ):
        NewGradients(other, recording, silent, None)
    bare = replace(recording, dynamics=replace(recording.dynamics, sketches=None))
    with pytest.raises(DataError, match="has no gradient sketches, so that new rows have no gradients"):
        NewGradients(features, bare, silent, None)
