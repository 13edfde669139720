"""Feature files: the vectors that one encoder gave to the examples of a recording."""

from collections.abc import Sequence
from pathlib import Path

from gptfl.errors import DataError
from gptfl.records import Dynamics, Features, FeatureSet
from gptfl.store import fields, files
from gptfl.store.kinds import FEATURES


def write_features(
    path: Path, features: Features, pool_digests: Sequence[str] = (), test_digests: Sequence[str] = ()
) -> None:
    """Write features, with the digest of the example behind each row so that a cache can find them.

    Raises ``DataError`` if the sets' shapes disagree, ``ResourceError`` if it can't be written.
    """
    _check_shapes(features, pool_digests, test_digests, str(path))
    inputs = {"examples": features.examples}
    with files.create(path, FEATURES, settings=features.identity, inputs=inputs) as file:
        fields.put_word(file, "encoder", features.encoder)
        rows = file.create_group("rows")
        fields.put_lines(rows, "pool", list(pool_digests))
        fields.put_lines(rows, "test", list(test_digests))
        sets = file.create_group("sets")
        for name, features_set in features.sets.items():
            group = sets.create_group(fields.encode_name(name))
            fields.put_word(group, "kind", features_set.kind)
            fields.put_array(group, "train", features_set.train)
            fields.put_array(group, "test", features_set.test)


def read_features(path: Path) -> Features:
    """Read features. Raises ``DataError``."""
    return read_feature_rows(path)[0]


def read_feature_rows(path: Path) -> tuple[Features, tuple[str, ...], tuple[str, ...]]:
    """Read features and the digests of the pool's and the test examples' rows (empty where not kept)."""
    with files.open_file(path, FEATURES) as file:
        header = files.header_of(file)
        group = fields.get_group(file, "sets")
        sets = {}
        for name in fields.names_in(group):
            one = fields.get_group(group, name)
            train, test = fields.get_array(one, "train", 2, "f"), fields.get_array(one, "test", 2, "f")
            sets[name] = FeatureSet(train, test, fields.get_word(one, "kind"))
        rows = fields.get_group(file, "rows")
        pool_digests, test_digests = (tuple(map(str, fields.get_lines(rows, part))) for part in ("pool", "test"))
        encoder = fields.get_word(file, "encoder")
    features = Features(encoder, header.settings, str(header.inputs.get("examples")), sets)
    _check_shapes(features, pool_digests, test_digests, str(path))
    return features, pool_digests, test_digests


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
