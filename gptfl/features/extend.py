"""Gives examples that a recording lacks vectors like those of its features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, Features, FeatureSet, Progress, examples_fingerprint
from gptfl.core.blocked_rows import stacked_rows
from gptfl.errors import DataError
from gptfl.features.embedding import Embedding, same_identity
from gptfl.features.new_gradients import NewGradients
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.optional import EncodesNew, ReportsProgress, UsesRecording
from gptfl.plugins.parts import Part
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
    model: str | None = None,
) -> Features:
    """The features of a recording with those of more training and test examples after them, by the same encoder.

    Args:
        features: of the recording.
        pool: more training examples, with texts.
        test: more test examples, with texts.
        recording: says which model's vectors they are.
        progress: called along the way.
        model: name or folder of the model that gradients are taken of, None for the recording's.

    Raises ``DataError`` as ``new_vectors`` does.
    """
    made = new_vectors(features, pool, test, recording, progress, model).sets
    dynamics = recording.dynamics
    examples = examples_fingerprint((*dynamics.pool, *pool), (*dynamics.test, *test))
    sets = {
        key: FeatureSet(
            stacked_rows(one.train, np.asarray(made[key].train)), np.concatenate([one.test, made[key].test]), one.kind
        )
        for key, one in features.sets.items()
    }
    return Features(features.encoder, features.identity, examples, sets)


@dataclass(frozen=True, slots=True)
class NewVectors:
    """The vectors of new examples in each set; ``embedding``, where each is embedded by itself, says what of them is new."""

    sets: dict[str, FeatureSet]
    embedding: Embedding | None = None


def new_vectors(
    features: Features,
    pool: tuple[Example, ...],
    test: tuple[Example, ...],
    recording: OpenedRecording,
    progress: Progress,
    model: str | None = None,
    target: Path | None = None,
) -> NewVectors:
    """The vectors of more training and test examples, by the encoder of a recording's features.

    What a features file of the workspace has of them is taken.

    Args:
        features: of the recording.
        pool: more training examples, with texts.
        test: more test examples, with texts.
        recording: says which model's vectors they are.
        progress: called along the way.
        model: name or folder of the model that gradients are taken of, None for the recording's.
        target: of the features file that they go to, beside which they are kept meanwhile; None for none.

    Raises ``DataError`` where the encoder isn't the same any more, or fits its vectors to all examples together
    and can't place others among them; of gradients as ``sketch_new`` does.
    """
    part, encoder = _encoder_of(features, recording, progress, model)
    if encoder.tags.per_example:
        # An encoder never gets an empty side: a recorded example, whose vector is there, stands for it.
        recorded = recording.dynamics.pool[:1], recording.dynamics.test[:1]
        spare = recorded if recorded[0][0].text and recorded[1][0].text else (test[:1], pool[:1])
        embedding = Embedding(part, encoder, pool or spare[0], test or spare[1], progress)
        _check_same(embedding.identity, features, recording)
        embedding.look_up(recording.workspace.candidates("features", encoder=features.encoder))
        made = {
            key: FeatureSet(one.train if pool else one.train[:0], one.test[: len(test)], one.kind)
            for key, one in embedding.sets(target).items()
        }
        _check_sets(made, features, recording)
        return NewVectors(made, embedding)
    _check_same(encoder.identity(), features, recording)
    placed = _placed(encoder, features, (*pool, *test), recording)
    kinds = {key: one.kind for key, one in features.sets.items()}
    made = {
        key: FeatureSet(rows[: len(pool)], rows[len(pool) :], kinds.get(key, "embedding"))
        for key, rows in placed.items()
    }
    _check_sets(made, features, recording)
    return NewVectors(made)


def _check_same(identity: Mapping[str, Any], features: Features, recording: OpenedRecording) -> None:
    if not same_identity(identity, features.identity):
        name = features.encoder
        raise DataError(
            f"the encoder {name} is not the one any more that the features of {recording.stem} are by",
            f"run gptfl featurize --encoder {name} and gptfl fit again",
        )


def _check_sets(made: Mapping[str, FeatureSet], features: Features, recording: OpenedRecording) -> None:
    for key, one in features.sets.items():
        if key not in made or made[key].train.shape[1] != one.train.shape[1]:
            name = features.encoder
            raise DataError(
                f"the encoder {name} gives new examples no vectors like those of the set {key!r}",
                f"run gptfl featurize --encoder {name} and gptfl fit again",
            )


def _encoder_of(
    features: Features, recording: OpenedRecording, progress: Progress, model: str | None
) -> tuple[Part, Encoder]:
    """The encoder that gave a recording's examples their features, to be asked about others."""
    registry = recording.registry
    name = features.encoder
    if name not in registry.names("encoder"):
        raise DataError(
            f"the vectors of {recording.stem} are by {name!r}, which is no encoder that is installed",
            "featurize and fit with one that is, such as minilm, to ask about new examples",
        )
    part = registry.find("encoder", name)
    if name == NewGradients.name:
        new: Encoder = NewGradients(features, recording, progress, model)
        return part, new
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
    return part, encoder


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
