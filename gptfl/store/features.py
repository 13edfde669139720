"""Feature files: the vectors that one encoder gave to the examples of a recording."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float

from gptfl.core import Blocks, Dynamics, Features, FeatureSet, fingerprint
from gptfl.core.blocked_rows import as_array, row_blocks
from gptfl.errors import DataError
from gptfl.store import files, hdf5
from gptfl.store.deferred import check_unchanged
from gptfl.store.kinds import FEATURES
from gptfl.store.large_files import create_large
from gptfl.store.seconds import get_seconds, put_seconds
from gptfl.store.stored_rows import stored_rows


def write_features(
    path: Path,
    features: Features,
    pool_digests: Sequence[str] = (),
    test_digests: Sequence[str] = (),
    *,
    packed: bool = True,
) -> None:
    """Write features, with the digest of the example behind each row so that a cache can find them.

    Args:
        path: of the new file.
        features: of a recording's examples.
        pool_digests: of the training example behind each row.
        test_digests: of the test example behind each row.
        packed: whether vectors of a pool that are few are packed; those that don't stay needn't be.

    Raises ``DataError`` if the sets' shapes disagree, ``ResourceError`` if it can't be written.
    """
    _check_shapes(features, pool_digests, test_digests, str(path))
    inputs = {"examples": features.examples}
    if not packed or sum(one.train.size for one in features.sets.values()) >= LARGE:
        with create_large(path, FEATURES, settings=features.identity, inputs=inputs) as large:
            _put_about(large.file, features, pool_digests, test_digests)
            for name, group in _put_sets(large.file, features):
                train = features.sets[name].train
                large.put_rows(group, "train", train.shape, train.dtype, (block for _, block in row_blocks(train)))
        return
    with files.create(path, FEATURES, settings=features.identity, inputs=inputs) as file:
        _put_about(file, features, pool_digests, test_digests)
        for name, group in _put_sets(file, features):
            hdf5.put_array(group, "train", np.asarray(features.sets[name].train))


def _put_about(file: h5py.File, features: Features, pool: Sequence[str], test: Sequence[str]) -> None:
    hdf5.put_word(file, "encoder", features.encoder)
    put_seconds(file, features.seconds)
    rows = file.create_group("rows")
    hdf5.put_lines(rows, "pool", list(pool))
    hdf5.put_lines(rows, "test", list(test))


def _put_sets(file: h5py.File, features: Features) -> Iterator[tuple[str, h5py.Group]]:
    """The name and the group of each set, with all but the vectors of the pool."""
    sets = file.create_group("sets")
    for name, one in features.sets.items():
        group = sets.create_group(hdf5.encode_name(name))
        hdf5.put_word(group, "kind", one.kind)
        yield name, group
        hdf5.put_array(group, "test", one.test)


def read_features(path: Path, *, known: bool = False) -> Features:
    """Read features; of ``known`` ones that are ``LARGE``, nothing of the pool's is looked at. Raises ``DataError``."""
    return read_feature_rows(path, known=known)[0]


def read_feature_rows(
    path: Path, *, known: bool = False, only: Collection[str] | None = None
) -> tuple[Features, tuple[str, ...], tuple[str, ...]]:
    """Read features and the digests of the pool's and the test examples' rows (empty where not kept).

    The pool's vectors stay in the file where they are ``LARGE``: they are ``BlockedRows`` then, of which nothing is looked at
    where they are ``known`` by their digest. Of sets that aren't among ``only``, where that is given, nothing is read.
    """
    with files.open_file(path, FEATURES, max_bytes=files.whole(path)) as file:
        header = files.header_of(file)
        group = hdf5.get_group(file, "sets")
        large = _pool_numbers(group) >= LARGE
        sets = {}
        for name in hdf5.names_in(group):
            if only is not None and name not in only:
                continue
            one = hdf5.get_group(group, name)
            if large:
                train = as_array(stored_rows(path, hdf5.get_dataset(one, "train", 2, "f", known=known)))
            else:
                train = hdf5.get_array(one, "train", 2, "f")
            sets[name] = FeatureSet(train, hdf5.get_array(one, "test", 2, "f"), hdf5.get_word(one, "kind"))
        rows = hdf5.get_group(file, "rows")
        pool_digests, test_digests = (tuple(hdf5.get_lines(rows, part, texts=True)) for part in ("pool", "test"))
        encoder, seconds = hdf5.get_word(file, "encoder"), get_seconds(file)
    features = Features(encoder, header.settings, str(header.inputs.get("examples")), sets, seconds)
    _check_shapes(features, pool_digests, test_digests, str(path))
    return features, pool_digests, test_digests


LARGE = 2**25
"""Vectors of a pool that are so many numbers or more lie unpacked in their file, and are read some at a time."""
LARGEST = 1e15
"""A number of a vector is no larger: the squares of those that are would soon leave what a float can hold."""
BLOCK_BYTES = 2**24
"""So much of an open file is in memory at once."""


def _pool_numbers(sets: h5py.Group) -> int:
    """How many numbers the vectors of the pool are in all sets of an open file."""
    found = 0
    for name in hdf5.names_in(sets):
        rows, width = (*hdf5.get_shape(hdf5.get_group(sets, name), "train", "f"), 0, 0)[:2]
        found += rows * width
    return found


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """An open features file, whose vectors are read some rows at a time.

    ``train`` and ``test`` map the name of each set to its vectors.
    """

    path: Path
    encoder: str
    identity: Mapping[str, Any]
    examples: str
    train: Mapping[str, h5py.Dataset]
    test: Mapping[str, h5py.Dataset]

    @property
    def width(self) -> int:
        """How many bytes the vectors of one training example take in all sets."""
        return sum(one.shape[1] * one.dtype.itemsize for one in self.train.values())

    def rows(self, start: int, stop: int) -> dict[str, Float[np.ndarray, "example d"]]:
        """The vectors of training examples ``start`` to ``stop`` in each set."""
        return {name: hdf5.get_rows(one, slice(start, stop)) for name, one in self.train.items()}

    def fingerprint(self, examples: str, pool: Bool[np.ndarray, " pool"], test: Bool[np.ndarray, " test"]) -> str:
        """What ``Features.fingerprint`` says of the rows that are true, as features of ``examples``."""
        arrays: list[str | Blocks] = []
        for name in sorted(self.train):
            arrays += [name, _blocks(self.train[name], pool), _blocks(self.test[name], test)]
        return fingerprint(self.encoder, dict(self.identity), examples, *arrays)


def _blocks(dataset: h5py.Dataset, kept: Bool[np.ndarray, " row"]) -> Blocks:
    rows = max(1, BLOCK_BYTES // max(1, dataset.shape[1] * dataset.dtype.itemsize))
    blocks = (
        hdf5.get_rows(dataset, slice(start, start + rows))[kept[start : start + rows]]
        for start in range(0, len(dataset), rows)
    )
    return Blocks(dataset.dtype, (int(kept.sum()), dataset.shape[1]), blocks)


@contextmanager
def open_features(path: Path, dynamics: Dynamics) -> Iterator[FeatureReader]:
    """Open the features of a recording's examples, to read them some rows at a time.

    Raises ``DataError`` as ``read_features`` and ``check_features`` do.
    """
    with files.open_file(path, FEATURES, max_bytes=files.whole(path)) as file:
        header = files.header_of(file)
        group = hdf5.get_group(file, "sets")
        sides: dict[str, dict[str, h5py.Dataset]] = {"train": {}, "test": {}}
        for name in hdf5.names_in(group):
            one = hdf5.get_group(group, name)
            for side, sets in sides.items():
                sets[name] = hdf5.get_dataset(one, side, 2, "f")
        encoder, examples = hdf5.get_word(file, "encoder"), str(header.inputs.get("examples"))
        shapes = {name: FeatureSet(one, sides["test"][name]) for name, one in sides["train"].items()}
        features = Features(encoder, header.settings, examples, shapes)
        _check_shapes(features, (), (), str(path))
        check_features(features, dynamics, path)
        check_unchanged(file)
        yield FeatureReader(path, encoder, header.settings, examples, sides["train"], sides["test"])


def check_features(features: Features, dynamics: Dynamics, path: Path) -> None:
    """Raise ``DataError`` unless these features are of the examples of this recording."""
    if features.examples != dynamics.examples:
        raise DataError(f"{path} holds features of other examples than the recording's", "run gptfl featurize again")
    for name, one in features.sets.items():
        if (len(one.train), len(one.test)) != (len(dynamics.pool), len(dynamics.test)):
            raise DataError(
                f"{path}: the set {name!r} has {len(one.train)} + {len(one.test)} rows for "
                f"{len(dynamics.pool)} + {len(dynamics.test)} examples",
                "run gptfl featurize again",
            )


def check_numbers(features: Features, path: Path) -> None:
    """Raise ``DataError`` for vectors that nothing can be computed with."""
    for name, one in features.sets.items():
        blocks = (block for vectors in (one.train, one.test) for _, block in row_blocks(vectors))
        for vectors in blocks:
            # A narrow float can't hold the limit itself.
            if not (np.abs(vectors) <= min(LARGEST, float(np.finfo(vectors.dtype).max))).all():
                raise DataError(
                    f"{path}: the set {name!r} holds numbers that are not finite, or beyond {LARGEST:g}",
                    "run gptfl featurize again",
                )


def _check_shapes(features: Features, pool: Sequence[str], test: Sequence[str], where: str) -> None:
    if not features.sets:
        raise DataError(f"{where}: the encoder {features.encoder!r} gave no vectors", "use another encoder")
    for name, one in features.sets.items():
        if one.train.ndim != 2 or one.test.ndim != 2 or one.train.shape[1] != one.test.shape[1]:
            raise DataError(
                f"{where}: the set {name!r} has shapes {one.train.shape} and {one.test.shape}",
                "both must be examples by dimensions",
            )
        for part, digests, vectors in (("pool", pool, one.train), ("test", test, one.test)):
            if digests and len(digests) != len(vectors):
                raise DataError(
                    f"{where}: the set {name!r} has {len(vectors)} rows for {len(digests)} {part} examples",
                    "run gptfl featurize again",
                )
