"""Embeds examples through an encoder, some at a time, taking from earlier features files what they hold already."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import Example, Features, FeatureSet, Progress, fingerprint
from gptfl.core.blocked_rows import BlockedRows, GatheredRows, as_array, row_blocks
from gptfl.errors import DataError, PluginError
from gptfl.features.block_work import BlockWork, cut
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.parts import MENDING, Part
from gptfl.store import features as stored
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
    kept apart, for an encoder may see the two sides differently. ``embedded`` counts the new rows, and ``embedded_training``
    those of the pool; where all are new, ``seconds`` is what they took. ``keys`` are those of the pool's and of the test examples' rows.
    """

    def __init__(
        self, part: Part, encoder: Encoder, pool: Sequence[Example], test: Sequence[Example], progress: Progress
    ) -> None:
        self.part, self.encoder, self.pool, self.test, self.progress = part, encoder, pool, test, progress
        self.name = part.name
        self.identity: dict[str, Any] = self._json_able(dict(encoder.identity()))
        self.embedded = self.embedded_training = 0
        self.seconds: float | None = None
        self.notes: list[str] = []
        self.work: BlockWork | None = None
        self.keys, self._sizes = _keys_and_sizes(pool, test)
        self._layout: Layout = {}
        self._sources: list[Features] = []
        self._source = [np.full(len(side), -1, dtype=np.int32) for side in (pool, test)]
        self._row = [np.zeros(len(side), dtype=np.int64) for side in (pool, test)]

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
                self._remember(features, keys)

    def _fits(self, features: Features, keys: Sequence[Sequence[str]]) -> bool:
        if features.encoder != self.name or not same_identity(features.identity, self.identity):
            return False
        rows = next(iter(features.sets.values()))
        if [len(one) for one in keys] != [len(rows.train), len(rows.test)]:
            return False
        if self._layout and _layout(features.sets) != self._layout:
            return False
        return self.encoder.tags.per_example or all(list(a) == b for a, b in zip(keys, self.keys, strict=True))

    def _remember(self, features: Features, keys: Sequence[Sequence[str]]) -> None:
        number, used = len(self._sources), False
        for side, there in enumerate(keys):
            # The first row of a key counts.
            rows = {key: row for row, key in reversed(list(enumerate(there)))}
            for place in np.flatnonzero(self._source[side] < 0).tolist():
                row = rows.get(self.keys[side][place])
                if row is not None:
                    self._source[side][place], self._row[side][place] = number, row
                    used = True
        if used or not self._layout:
            self._layout = _layout(features.sets)
        if used:
            self._sources.append(features)

    def sets(self, target: Path | None = None) -> dict[str, FeatureSet]:
        """Every set, whole: known rows as they were, the others embedded now, some at a time.

        The pool's vectors are ``BlockedRows`` where they are many. With a ``target`` blocks of vectors lie beside it until
        ``work`` is removed, and those that an earlier call left there are taken.

        Raises ``PluginError`` where the encoder's vectors are not finite or of the wrong shape, ``ResourceError`` where a
        block can't be written.
        """
        missing = [np.flatnonzero(source < 0) for source in self._source]
        if not self.encoder.tags.per_example and any(map(len, missing)):
            missing = [np.arange(len(keys)) for keys in self.keys]
            self._source = [np.full(len(keys), -1, dtype=np.int32) for keys in self.keys]
            self._layout, self._sources = {}, []
        self.embedded = sum(map(len, missing))
        self.embedded_training = len(missing[0])
        if not self.embedded:
            return self._whole(None)
        tags = self.encoder.tags
        alone = tags.per_example and tags.reads_texts
        self.work = BlockWork(self, cut(missing, self._sizes) if alone else [(missing[0], missing[1])], target)
        self.work.do()
        if self.embedded == len(self.pool) + len(self.test):
            self.seconds = self.work.seconds
        number = len(self._sources)
        for source, row, places in zip(self._source, self._row, missing, strict=True):
            source[places], row[places] = number, np.arange(len(places))
        return self._whole(self.work)

    def clear(self) -> list[str]:
        """Delete the blocks, whose vectors are in their file now; what to tell of those of other work on it."""
        kept = self.work.kept if self.work is not None else None
        if kept is None:
            return []
        kept.remove()
        return [
            f"{path} is left of an interrupted gptfl featurize of other examples or settings, and the same command goes on "
            "with it: delete it if it isn't needed"
            for path in kept.others()
        ]

    def _whole(self, work: BlockWork | None) -> dict[str, FeatureSet]:
        sets = {}
        for name, (width, kind) in self._layout.items():
            sides = [[_side(one.sets[name], side) for one in self._sources] for side in (0, 1)]
            if work is not None:
                for side, vectors in enumerate(work.vectors(name, width)):
                    sides[side].append(vectors)
            train, test = (
                GatheredRows(arrays, self._source[side], self._row[side], np.dtype(np.float32))
                for side, arrays in enumerate(sides)
            )
            sets[name] = FeatureSet(as_array(train), np.asarray(test), kind)
        if sum(one.train.size for one in sets.values()) >= stored.LARGE:
            return sets
        return {name: FeatureSet(np.asarray(one.train), one.test, one.kind) for name, one in sets.items()}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """The encoder's vectors of some examples of either side, checked.

        Raises ``PluginError`` where they are not finite or of the wrong shape.
        """
        made = self.encoder.encode(pool, test)
        if not isinstance(made, Mapping) or not all(isinstance(one, FeatureSet) for one in made.values()):
            raise self._broken("gave no mapping of names to sets of vectors")
        if not made:
            raise self._broken("gave no vectors")
        for name, one in made.items():
            for side, vectors, examples in (("pool", one.train, pool), ("test", one.test, test)):
                if np.ndim(vectors) != 2 or len(vectors) != len(examples):
                    raise self._broken(f"gave {np.shape(vectors)} for {len(examples)} {side} examples, in set {name!r}")
                place = _not_finite(vectors)
                if place is not None:
                    which = examples[place].id
                    raise self._broken(
                        f"gave a vector that is not finite for {side} example {which!r}, in set {name!r}"
                    )
            if one.train.shape[1] != one.test.shape[1]:
                raise self._broken(f"gave pool and test vectors of different lengths, in set {name!r}")
        self.settle(made)
        return made

    def settle(self, made: Mapping[str, FeatureSet]) -> None:
        """Note which sets there are. Raises ``PluginError`` where there were others before."""
        if self._layout and _layout(made) != self._layout:
            raise self._broken("gave other sets than before under the same identity")
        self._layout = _layout(made)

    def _json_able(self, identity: dict[str, Any]) -> dict[str, Any]:
        try:
            same: dict[str, Any] = json.loads(json.dumps(identity))
        except (TypeError, ValueError) as error:
            raise self._broken(f"has an identity that is no JSON ({error})") from error
        return same

    def _broken(self, what: str) -> PluginError:
        return PluginError(f"{self.part.who} {what}", MENDING)


def _keys_and_sizes(
    pool: Sequence[Example], test: Sequence[Example]
) -> tuple[tuple[list[str], list[str]], tuple[np.ndarray, np.ndarray]]:
    """The key of each row on either side, and how many characters its example has; each example is made once."""
    keys: tuple[list[str], list[str]] = [], []
    sizes = np.zeros(len(pool), dtype=np.int64), np.zeros(len(test), dtype=np.int64)
    for side, examples in enumerate((pool, test)):
        for place, example in enumerate(examples):
            keys[side].append(row_key(example))
            sizes[side][place] = len(example.prompt) + len(example.target)
    return keys, sizes


def _not_finite(vectors: "np.ndarray | BlockedRows") -> int | None:
    """The place of the first row that isn't finite; None where all are."""
    for start, rows in row_blocks(vectors):
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            return start + int(bad.argmax())
    return None


def _layout(sets: Mapping[str, FeatureSet]) -> Layout:
    return {name: (one.train.shape[1], one.kind) for name, one in sorted(sets.items())}


def _side(one: FeatureSet, side: int) -> np.ndarray:
    return one.test if side else one.train
