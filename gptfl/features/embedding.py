"""Embeds examples through an encoder, taking from earlier features files what they hold already."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, Features, FeatureSet, Progress, fingerprint
from gptfl.errors import DataError, PluginError
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.parts import MENDING, Part
from gptfl.store.features import read_feature_rows

Layout = dict[str, tuple[int, str]]
"""Dimensions and kind of each set."""


def row_key(example: Example) -> str:
    """Identify all that an encoder can read of an example: texts, class and further fields, not the id."""
    return fingerprint(example.digest, list(example.choices), example.label, dict(example.fields))


def same_identity(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two identities are of one encoder with one model: where both tell its weights, its name is no matter."""
    dropped = {"model"} if "weights" in first and "weights" in second else set[str]()
    one, other = ({key: value for key, value in each.items() if key not in dropped} for each in (first, second))
    return fingerprint(one) == fingerprint(other)


class Embedding:
    """One encoder's work on a pool and a test set.

    ``look_up`` finds rows that are there already, ``sets`` makes the others; pool and test rows are
    kept apart, for an encoder may see the two sides differently. ``embedded`` counts the new rows.
    """

    def __init__(
        self, part: Part, encoder: Encoder, pool: Sequence[Example], test: Sequence[Example], progress: Progress
    ) -> None:
        self.part, self.encoder, self.pool, self.test, self.progress = part, encoder, pool, test, progress
        self.name = part.name
        self.identity: dict[str, Any] = self._json_able(dict(encoder.identity()))
        self.embedded = 0
        self.notes: list[str] = []
        self._keys = [row_key(e) for e in pool], [row_key(e) for e in test]
        self._layout: Layout = {}
        self._known: tuple[dict[str, dict[str, np.ndarray]], ...] = ({}, {})

    def look_up(self, paths: Iterable[Path]) -> None:
        """Take what these features files hold of the same encoder; one that can't be read is noted."""
        for path in paths:
            if not path.exists():
                continue
            try:
                features, *keys = read_feature_rows(path)
            except DataError as error:
                self.notes.append(f"nothing is reused of {path.name}: {error.problem}")
                continue
            if self._fits(features, keys):
                self._remember(features.in_memory(), keys)

    def _fits(self, features: Features, keys: Sequence[Sequence[str]]) -> bool:
        if features.encoder != self.name or not same_identity(features.identity, self.identity):
            return False
        if not all(keys) or (self._layout and _layout(features.sets) != self._layout):
            return False
        return self.encoder.tags.per_example or all(list(a) == b for a, b in zip(keys, self._keys, strict=True))

    def _remember(self, features: Features, keys: Sequence[Sequence[str]]) -> None:
        self._layout = _layout(features.sets)
        for side, known in enumerate(self._known):
            for row, key in enumerate(keys[side]):
                if key not in known:
                    known[key] = {name: _side(one, side)[row] for name, one in features.sets.items()}

    def sets(self) -> dict[str, FeatureSet]:
        """Every set, whole: known rows as they were, the others embedded now.

        Raises ``PluginError`` where the encoder's vectors are not finite or of the wrong shape.
        """
        missing = [
            [row for row, key in enumerate(keys) if key not in known]
            for keys, known in zip(self._keys, self._known, strict=True)
        ]
        if not self.encoder.tags.per_example and any(missing):
            missing = [list(range(len(keys))) for keys in self._keys]
        self.embedded = sum(map(len, missing))
        fresh: Mapping[str, FeatureSet] = {}
        # An encoder never gets an empty side: one known row is then embedded again and left unused.
        rows_to_encode = [rows or [0] for rows in missing]
        if self.embedded:
            self.progress("featurize", 0, self.embedded, self.name)
            fresh = self._encode([self.pool[i] for i in rows_to_encode[0]], [self.test[i] for i in rows_to_encode[1]])
            self.progress("featurize", self.embedded, self.embedded, self.name)
        return {
            name: FeatureSet(
                self._assemble(name, width, 0, fresh, missing[0]),
                self._assemble(name, width, 1, fresh, missing[1]),
                kind,
            )
            for name, (width, kind) in self._layout.items()
        }

    def _assemble(
        self, name: str, width: int, side: int, fresh: Mapping[str, FeatureSet], missing: Sequence[int]
    ) -> Float[np.ndarray, "example d"]:
        keys, known = self._keys[side], self._known[side]
        vectors = np.zeros((len(keys), width), dtype=np.float32)
        new = set(missing)
        for row, key in enumerate(keys):
            if row not in new:
                vectors[row] = known[key][name]
        if missing:
            vectors[list(missing)] = _side(fresh[name], side)
        return vectors

    def _encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        made = self.encoder.encode(pool, test)
        if not isinstance(made, Mapping) or not all(isinstance(one, FeatureSet) for one in made.values()):
            raise self._broken("gave no mapping of names to sets of vectors")
        if not made:
            raise self._broken("gave no vectors")
        for name, one in made.items():
            for side, vectors, examples in (("pool", one.train, pool), ("test", one.test, test)):
                if np.ndim(vectors) != 2 or len(vectors) != len(examples):
                    raise self._broken(f"gave {np.shape(vectors)} for {len(examples)} {side} examples, in set {name!r}")
                bad = ~np.isfinite(vectors).all(axis=1)
                if bad.any():
                    which = examples[int(bad.argmax())].id
                    raise self._broken(
                        f"gave a vector that is not finite for {side} example {which!r}, in set {name!r}"
                    )
            if one.train.shape[1] != one.test.shape[1]:
                raise self._broken(f"gave pool and test vectors of different lengths, in set {name!r}")
        if self._layout and _layout(made) != self._layout and self.encoder.tags.per_example:
            raise self._broken("gave other sets than before under the same identity")
        self._layout = _layout(made)
        return made

    def _json_able(self, identity: dict[str, Any]) -> dict[str, Any]:
        try:
            same: dict[str, Any] = json.loads(json.dumps(identity))
        except (TypeError, ValueError) as error:
            raise self._broken(f"has an identity that is no JSON ({error})") from error
        return same

    def _broken(self, what: str) -> PluginError:
        return PluginError(f"{self.part.who} {what}", MENDING)


def _layout(sets: Mapping[str, FeatureSet]) -> Layout:
    return {name: (one.train.shape[1], one.kind) for name, one in sorted(sets.items())}


def _side(one: FeatureSet, side: int) -> np.ndarray:
    return one.test if side else one.train
