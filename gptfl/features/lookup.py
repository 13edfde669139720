"""Finds features: those that an estimator works from, and those that a simulator was fitted on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.core import Features, examples_fingerprint, user_path
from gptfl.core.blocked_rows import whole_digest
from gptfl.core.holdout import kept_places
from gptfl.core.many_examples import examples_at
from gptfl.core.queries import features_at
from gptfl.errors import DataError, ResourceError
from gptfl.features.whole import in_memory
from gptfl.plugins.interfaces import Estimator
from gptfl.recording.recording import OpenedRecording, others_note
from gptfl.store.features import FeatureReader, check_features, check_numbers, open_features, read_features
from gptfl.store.simulators import SimulatorFile

HOW = "--encoder takes one for all, --estimator NAME@ENCODER for one"
SKETCHES = "sketches"
"""Under which gradient features keep the fingerprint of the sketches that they were made of."""


@dataclass(frozen=True, slots=True)
class FeatureChoice:
    """What an estimator gets: ``features`` (None where there are none, or none are wanted), and what to tell of it.

    ``last`` says that they are simply those made last.
    """

    features: Features | None = None
    notes: tuple[str, ...] = ()
    last: bool = False

    @property
    def encoder(self) -> str | None:
        """Whose features they are."""
        return None if self.features is None else self.features.encoder


FeaturesRead = dict[tuple[str | Path | None, str | None], tuple[Features | None, tuple[str, ...]]]
"""What ``find_features`` found of one recording, by path and encoder."""


@dataclass
class FeatureLookup:
    """The features of a recording, each file read at most once.

    ``path`` and ``encoder`` are what the user named for all estimators, if anything. ``read`` is what was read so far;
    lookups of one recording may share it. Raises ``DataError`` where what was named is missing or belongs to other
    examples, when made.
    """

    recording: OpenedRecording
    path: str | Path | None = None
    encoder: str | None = None
    read: FeaturesRead = field(default_factory=dict)
    whole: dict[int, tuple[Features, Features, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    """Features that were read in blocks, the same in memory, and what to tell of that; by the id of the first."""

    def __post_init__(self) -> None:
        if self.named:
            self._all()

    @property
    def named(self) -> bool:
        """Whether the user said which features to take."""
        return self.path is not None or self.encoder is not None

    def has(self, encoder: str) -> bool:
        """Whether the features named are this encoder's or, where none were named, there are some of it."""
        if self.named:
            found, _ = self._all()
            return found is not None and found.encoder == encoder
        return bool(self.recording.workspace.candidates("features", self.recording.stem, encoder=encoder))

    def provide(self, estimator: Estimator, encoder: str | None = None) -> FeatureChoice:
        """The features for one estimator; ``encoder`` is what the user named for it alone.

        What was named is given even to an estimator that doesn't require features. Raises ``DataError`` where what
        was named isn't there, ``ResourceError`` where it needs more vectors in memory than there is room for.
        """
        choice = self._chosen(estimator, encoder)
        if choice.features is None or estimator.tags.blocks:
            return choice
        try:
            return self._whole(choice, choice.features, estimator.name)
        except ResourceError as error:
            if "features" in estimator.tags.requires:
                raise
            return FeatureChoice(notes=(*choice.notes, f"{estimator.name} goes without features: {error.problem}"))

    def _whole(self, choice: FeatureChoice, features: Features, who: str) -> FeatureChoice:
        """A choice whose vectors are all in memory, once for all estimators that take them so."""
        if id(features) not in self.whole:
            # The features are held, so that no others get their id.
            self.whole[id(features)] = features, *in_memory(features, who)
        _, whole, notes = self.whole[id(features)]
        return replace(choice, features=whole, notes=(*choice.notes, *notes))

    def _chosen(self, estimator: Estimator, encoder: str | None) -> FeatureChoice:
        if encoder is not None:
            return FeatureChoice(*self._by(encoder))
        if self.named:
            return FeatureChoice(*self._all())
        if "features" not in estimator.tags.requires:
            return FeatureChoice()
        space, stem = self.recording.workspace, self.recording.stem
        for preferred in estimator.tags.prefers:
            if space.candidates("features", stem, encoder=preferred):
                found, notes = self._by(preferred)
                return FeatureChoice(found, (*notes, *self._others(estimator, preferred)))
        found, notes = self._all()
        return FeatureChoice(found, notes, last=found is not None)

    def _by(self, encoder: str) -> tuple[Features | None, tuple[str, ...]]:
        return self._found(None, encoder)

    def _all(self) -> tuple[Features | None, tuple[str, ...]]:
        """What was named for all, else what was made last."""
        return self._found(self.path, self.encoder)

    def _found(self, path: str | Path | None, encoder: str | None) -> tuple[Features | None, tuple[str, ...]]:
        if (path, encoder) not in self.read:
            self.read[path, encoder] = find_features(self.recording, path, encoder)
        return self.read[path, encoder]

    def _others(self, estimator: Estimator, preferred: str) -> tuple[str, ...]:
        space, stem = self.recording.workspace, self.recording.stem
        taken = space.candidates("features", stem, encoder=preferred)
        others = [path.name for path in space.candidates("features", stem) if path not in taken]
        if not others:
            return ()
        listed = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        return (
            f"took {taken[0].name}, for {estimator.name} prefers these features; choose others with --encoder "
            f"(also there: {listed})",
        )


def choice_notes(choices: Mapping[str, FeatureChoice]) -> tuple[str, ...]:
    """What to tell of the features of all rows, by their labels: where they differ, who works from which."""
    by_encoder: dict[str, list[str]] = {}
    last = set()
    for label, choice in choices.items():
        if choice.encoder is not None:
            by_encoder.setdefault(choice.encoder, []).append(label)
            last |= {choice.encoder} if choice.last else set()
    if len(by_encoder) < 2:
        return tuple(dict.fromkeys(note for choice in choices.values() for note in choice.notes))
    sources = "; ".join(
        f"{', '.join(labels)} from {encoder}{' (made last)' if encoder in last else ''}"
        for encoder, labels in by_encoder.items()
    )
    return (f"features: {sources}; {HOW}",)


def find_features(
    recording: OpenedRecording, features: str | Path | None = None, encoder: str | None = None
) -> tuple[Features | None, tuple[str, ...]]:
    """The features at a path, else the encoder's, else those made last for the recording; None if there are none.

    Raises ``DataError`` where what was asked for is missing or belongs to other examples.
    """
    space, stem = recording.workspace, recording.stem
    notes: tuple[str, ...] = ()
    if features is not None:
        path = user_path(features)
    else:
        conditions: Mapping[str, str] = {} if encoder is None else {"encoder": encoder}
        if not space.candidates("features", stem, **conditions):
            if encoder is None:
                return None, ()
            raise DataError(
                f"{space.shown} holds no features of {stem} by the encoder {encoder!r}",
                f"run gptfl featurize --encoder {encoder} first",
            )
        latest = space.latest("features", stem, **conditions)
        path, notes = latest.path, others_note(latest, "features file", "--encoder")
    found = read_features(path)
    check_features(found, recording.dynamics, path)
    check_numbers(found, path)
    if encoder is not None and found.encoder != encoder:
        raise DataError(f"{path} holds features of {found.encoder!r}, not {encoder!r}", "leave out one of the two")
    return found, (*notes, *(() if features is None else _foreign_note(recording, found, path)))


def _foreign_note(recording: OpenedRecording, features: Features, path: Path) -> tuple[str, ...]:
    """That gradients are of another reference run than this recording's, which only their fingerprint tells."""
    sketches = features.identity.get(SKETCHES)
    if sketches is None or "source" in features.identity:  # imported: the recording keeps none of them
        return ()
    own = recording.dynamics.sketches
    if own is not None and own.fingerprint == sketches:
        return ()
    has = "no gradient sketches" if own is None else "others"
    return (
        f"{path.name} holds gradients along another recording's reference run ({recording.path.name} has {has}): where its "
        "steps or step sizes differ, they foretell less of these runs",
    )


def fitted_features(
    recording: OpenedRecording, found: SimulatorFile, blind: bool, given: str | Path | None = None
) -> Features:
    """The features of the whole recording, of which the simulator was fitted to those that weren't set aside.

    Args:
        recording: with what was held out of the fit.
        found: the simulator's file, which keeps the fingerprint of the features.
        blind: whether the estimator learns nothing of single training examples, so that none was hidden from it.
        given: their file, None to look for those of the same encoder in the workspace.

    Raises ``DataError`` where no file has them.
    """
    dynamics = recording.dynamics
    pool, test = fitted_rows(recording, blind)
    seen = examples_at(dynamics.pool, pool), examples_at(dynamics.test, test)
    for path in _feature_paths(recording, found, given):
        features = read_features(path)
        check_features(features, dynamics, path)
        if features_at(features, *seen, pool, test).fingerprint == found.features:
            return features
    raise _no_features(recording, found, given)


def referred_features(
    recording: OpenedRecording, found: SimulatorFile, blind: bool, digests: Mapping[str, str], given: str | Path | None
) -> Features:
    """The features that a simulator was fitted to and keeps no vectors of, told by their digests.

    Nothing of the pool's vectors is looked at: they are read as they are asked for.

    Args:
        recording: with what was held out of the fit.
        found: the simulator's file.
        blind: whether the estimator learns nothing of single training examples, so that none was hidden from it.
        digests: of the pool's vectors in each set.
        given: their file, None to look for those of the same encoder in the workspace.

    Raises ``DataError`` where no file has them.
    """
    dynamics = recording.dynamics
    pool, test = fitted_rows(recording, blind)
    for path in _feature_paths(recording, found, given):
        features = read_features(path, known=True)
        if {name: whole_digest(one.train) for name, one in features.sets.items()} == dict(digests):
            check_features(features, dynamics, path)
            seen = examples_at(dynamics.pool, pool), examples_at(dynamics.test, test)
            return features_at(features, *seen, pool, test)
    raise _no_features(recording, found, given)


@contextmanager
def open_fitted_features(
    recording: OpenedRecording, found: SimulatorFile, blind: bool, given: str | Path | None = None
) -> Iterator[FeatureReader]:
    """The features that ``fitted_features`` finds, open to be read some rows at a time.

    Args:
        recording: with what was held out of the fit.
        found: the simulator's file, which keeps the fingerprint of the features.
        blind: whether the estimator learns nothing of single training examples, so that none was hidden from it.
        given: their file, None to look for those of the same encoder in the workspace.

    Raises ``DataError`` where no file has them.
    """
    dynamics = recording.dynamics
    pool, test = fitted_rows(recording, blind)
    examples = examples_fingerprint(examples_at(dynamics.pool, pool), examples_at(dynamics.test, test))
    kept_pool, kept_test = (
        np.isin(np.arange(len(side)), rows) for side, rows in ((dynamics.pool, pool), (dynamics.test, test))
    )
    for path in _feature_paths(recording, found, given):
        with open_features(path, dynamics) as reader:
            if reader.fingerprint(examples, kept_pool, kept_test) == found.features:
                yield reader
                return
    raise _no_features(recording, found, given)


def fitted_rows(recording: OpenedRecording, blind: bool) -> tuple[Int[np.ndarray, " pool"], Int[np.ndarray, " test"]]:
    """The places of the examples that a simulator was fitted to."""
    dynamics, held_out = recording.dynamics, recording.held_out
    hidden = () if blind or held_out is None else held_out.pool
    return kept_places(len(dynamics.pool), hidden), kept_places(
        len(dynamics.test), () if held_out is None else held_out.test
    )


def _feature_paths(recording: OpenedRecording, found: SimulatorFile, given: str | Path | None) -> list[Path]:
    if given is not None:
        return [user_path(given)]
    encoder = str(found.info.get("encoder"))
    return recording.workspace.candidates("features", recording.stem, encoder=encoder)


def _no_features(recording: OpenedRecording, found: SimulatorFile, given: str | Path | None) -> DataError:
    encoder = str(found.info.get("encoder"))
    where = f"{given} holds" if given is not None else f"{recording.workspace.shown} holds"
    return DataError(
        f"{where} no features of {recording.stem} like those that the simulator was fitted on (by {encoder})",
        f"name their file with --features, or run gptfl featurize --encoder {encoder} and gptfl fit again",
    )
