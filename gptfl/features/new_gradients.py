"""Gradient features of rows that a recording lacks: what the encoder ``gradients`` makes of their sketches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gptfl.core import Example, Features, FeatureSet, Progress
from gptfl.encoders.gradients import Gradients
from gptfl.errors import DataError
from gptfl.plugins.interfaces import EncoderTags
from gptfl.recording.new_sketches import lacks_sketches, sketch_new
from gptfl.recording.recording import OpenedRecording

SETTINGS = ("points", "dimensions", "divided")


class NewGradients:
    """Sketches new examples along the reference run that was kept beside a recording.

    Raises ``DataError``, when made, where the features aren't of the recording's sketches.
    """

    name = Gradients.name
    tags = EncoderTags(per_example=True)

    def __init__(self, features: Features, recording: OpenedRecording, progress: Progress, model: str | None) -> None:
        self.features, self.recording, self.progress, self.model = features, recording, progress, model
        sketches = recording.dynamics.sketches
        if sketches is None:
            raise lacks_sketches(recording)
        if features.identity.get("sketches") != sketches.fingerprint:
            raise DataError(
                f"the gradient features are not of the sketches that {recording.path} holds",
                "run gptfl featurize and gptfl fit again",
            )

    def identity(self) -> Mapping[str, Any]:
        """That of the recording's features."""
        return dict(self.features.identity)

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """The sets of the recording's features. Raises as ``sketch_new`` does."""
        sketches = sketch_new(self.recording, pool, test, self.model, self.progress)
        new = replace(
            self.recording.dynamics, pool=tuple(pool), test=tuple(test), runs=(), gradients=None, sketches=sketches
        )
        settings = {name: self.features.identity[name] for name in SETTINGS if name in self.features.identity}
        encoder = Gradients(**settings)
        encoder.use_recording(new)
        return encoder.encode(new.pool, new.test)
