"""Which features each estimator works from: those that were named, else those that it prefers, else those made last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gptfl.interfaces import Estimator, prefers
from gptfl.records import Features
from gptfl.stages.sources import Recording, find_features

HOW = "--encoder takes one for all, --estimator NAME@ENCODER for one"


@dataclass(frozen=True, slots=True)
class Provision:
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


@dataclass
class Shelf:
    """The features of a recording, each file read at most once.

    ``path`` and ``encoder`` are what the user named for all estimators, if anything. Raises ``DataError`` where that
    is missing or belongs to other examples, when made.
    """

    recording: Recording
    path: str | Path | None = None
    encoder: str | None = None
    read: dict[str | None, tuple[Features | None, tuple[str, ...]]] = field(default_factory=dict)

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

    def provide(self, estimator: Estimator, encoder: str | None = None) -> Provision:
        """The features for one estimator; ``encoder`` is what the user named for it alone.

        What was named is given even to an estimator that doesn't require features. Raises ``DataError`` where what
        was named isn't there.
        """
        if encoder is not None:
            return Provision(*self._by(encoder))
        if self.named:
            return Provision(*self._all())
        if "features" not in estimator.requires:
            return Provision()
        space, stem = self.recording.workspace, self.recording.stem
        for preferred in prefers(estimator):
            if space.candidates("features", stem, encoder=preferred):
                found, notes = self._by(preferred)
                return Provision(found, (*notes, *self._others(estimator, preferred)))
        found, notes = self._all()
        return Provision(found, notes, last=found is not None)

    def _by(self, encoder: str) -> tuple[Features | None, tuple[str, ...]]:
        if encoder not in self.read:
            self.read[encoder] = find_features(self.recording, None, encoder)
        return self.read[encoder]

    def _all(self) -> tuple[Features | None, tuple[str, ...]]:
        """What was named for all, else what was made last."""
        if None not in self.read:
            self.read[None] = find_features(self.recording, self.path, self.encoder)
        return self.read[None]

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


def provision_notes(provisions: Mapping[str, Provision]) -> tuple[str, ...]:
    """What to tell of the features of all rows, by their labels: where they differ, who works from which."""
    by_encoder: dict[str, list[str]] = {}
    last = set()
    for label, provision in provisions.items():
        if provision.encoder is not None:
            by_encoder.setdefault(provision.encoder, []).append(label)
            last |= {provision.encoder} if provision.last else set()
    if len(by_encoder) < 2:
        return tuple(dict.fromkeys(note for provision in provisions.values() for note in provision.notes))
    told = "; ".join(
        f"{', '.join(labels)} from {encoder}{' (made last)' if encoder in last else ''}"
        for encoder, labels in by_encoder.items()
    )
    return (f"features: {told}; {HOW}",)
