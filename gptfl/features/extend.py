"""Gives examples that a recording lacks vectors like those of its features."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, Features, FeatureSet, Progress, examples_fingerprint
from gptfl.core.blocked_rows import stacked_rows
from gptfl.errors import DataError
from gptfl.features.embedding import Embedding, same_identity
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.optional import EncodesNew, ReportsProgress, UsesRecording
from gptfl.recording.recording import OpenedRecording, with_texts

CLOSE = 1e-3
"""How far vectors made again may lie from those kept, relative to the largest entry."""

LOADING = ("answer-state", "causal-lm")
"""Encoders that load a model by name."""


def beside(
    features: Features,
    pool: tuple[Example, ...],
    test: tuple[Example, ...],
    recording: OpenedRecording,
    progress: Progress,
) -> Features:
    """The features of a recording with those of more training and test examples after them, by the same encoder.

    Args:
        features: of the recording.
        pool: more training examples, with texts.
        test: more test examples, with texts.
        recording: says which model's vectors they are.
        progress: called along the way.

    Raises ``DataError`` where the encoder isn't the same any more, or fits its vectors to all examples together
    and can't place others among them.
    """
    registry = recording.registry
    name = features.encoder
    if name not in registry.names("encoder"):
        raise DataError(
            f"the vectors of {recording.stem} are by {name!r}, which is no encoder that is installed",
            "featurize and fit with one that is, such as minilm, to ask about new examples",
        )
    part = registry.find("encoder", name)
    taken = registry.parameters("encoder", name)
    options = {key: value for key, value in features.identity.items() if key in taken}
    if name in LOADING:
        options["model"] = _model_here(features, recording)
    encoder: Encoder = registry.make("encoder", name, **options)
    if not encoder.tags.reads_texts:
        raise DataError(
            f"{name} knows no examples but the recorded ones, so it gives new ones no vectors",
            "featurize and fit with an encoder that reads them, such as answer-state or minilm",
        )
    if isinstance(encoder, ReportsProgress):
        encoder.progress = progress
    if isinstance(encoder, UsesRecording):
        encoder.use_recording(recording.dynamics)
    # An encoder never gets an empty side.
    embedding = Embedding(part, encoder, pool or test, test or pool, progress)
    if not same_identity(embedding.identity, features.identity):
        raise DataError(
            f"the encoder {name} is not the one any more that the features of {recording.stem} are by",
            f"run gptfl featurize --encoder {name} and gptfl fit again",
        )
    if encoder.tags.per_example:
        made = {key: (one.train[: len(pool)], one.test[: len(test)]) for key, one in embedding.sets().items()}
    else:
        placed = _placed(encoder, features, (*pool, *test), recording)
        made = {key: (vectors[: len(pool)], vectors[len(pool) :]) for key, vectors in placed.items()}
    dynamics = recording.dynamics
    examples = examples_fingerprint((*dynamics.pool, *pool), (*dynamics.test, *test))
    sets = {}
    for key, one in features.sets.items():
        if key not in made or made[key][0].shape[1] != one.train.shape[1]:
            raise DataError(
                f"the encoder {name} gives new examples no vectors like those of the set {key!r}",
                f"run gptfl featurize --encoder {name} and gptfl fit again",
            )
        train, tests = made[key]
        sets[key] = FeatureSet(stacked_rows(one.train, train), np.concatenate([one.test, tests]), one.kind)
    return Features(name, features.identity, examples, sets)


def _model_here(features: Features, recording: OpenedRecording) -> str:
    """The model that vectors were made with. Raises ``DataError`` where it is not to be had for the file alone."""
    from gptfl.training.named import model_in_file

    model, settings = features.identity.get("model"), recording.dynamics.settings
    location = settings.source if model in (settings.model, settings.source) else model
    who = f"the features of {recording.stem}"
    return model_in_file(model, location, who, f"gptfl featurize --encoder {features.encoder} --set model=")


def _placed(
    encoder: Encoder, features: Features, new: Sequence[Example], recording: OpenedRecording
) -> dict[str, Float[np.ndarray, "new d"]]:
    """Vectors by an encoder that is fitted to a recording's examples, made again and held against those kept."""
    if not isinstance(encoder, EncodesNew):
        raise DataError(
            f"{features.encoder} fits its vectors to all examples together and can't place new ones among them",
            "featurize and fit with an encoder that takes each example by itself, such as minilm",
        )
    pool, test = with_texts(recording, None)
    made = {name: np.asarray(rows) for name, rows in encoder.encode_new((*pool, *test, *new), pool, test).items()}
    recorded = len(pool) + len(test)
    for name, one in features.sets.items():
        old = np.concatenate([one.train, one.test])
        again = made.get(name, np.empty((0, 0)))[:recorded]
        if again.shape != old.shape or np.abs(again - old).max() > CLOSE * np.abs(old).max():
            raise DataError(
                f"{features.encoder} gives the examples of {recording.stem} other vectors here than the simulator was "
                "fitted on",
                f"run gptfl featurize --encoder {features.encoder} and gptfl fit again",
            )
    return {name: rows[recorded:] for name, rows in made.items()}
