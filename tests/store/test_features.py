import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gptfl.core import Dynamics, Example, Features, FeatureSet
from gptfl.errors import DataError
from gptfl.store.features import (
    check_features,
    check_numbers,
    open_features,
    read_feature_rows,
    read_features,
    write_features,
)


@st.composite
def feature_files(draw: st.DrawFn) -> Features:
    pool, test = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    sets = {}
    for name in draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3, unique=True)):
        dtype, bits = draw(st.sampled_from([("f2", 16), ("f4", 32), ("f8", 64)]))
        vectors = arrays.arrays(dtype, (pool + test, draw(st.integers(0, 4))), elements=st.floats(width=bits))
        both = draw(vectors)
        sets[name] = FeatureSet(both[:pool], both[pool:], draw(st.sampled_from(["embedding", "gradient"])))
    return Features("enc", {"width": draw(st.integers()), "text": draw(st.text())}, "0123456789abcdef", sets)


def test_how_long_they_took_is_kept_in_no_fingerprint(tmp_path: Path) -> None:
    plain = Features("enc", {}, "0123456789abcdef", {"only": FeatureSet(np.ones((2, 3)), np.ones((1, 3)))})
    timed = replace(plain, seconds=2.5)
    for name, features in (("plain", plain), ("timed", timed)):
        write_features(tmp_path / name, features)
    assert read_features(tmp_path / "plain").seconds is None
    assert read_features(tmp_path / "timed").seconds == 2.5
    assert plain.fingerprint == timed.fingerprint == read_features(tmp_path / "timed").fingerprint


@given(feature_files())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_what_is_written_is_read(features: Features) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        write_features(path, features)
        found = read_features(path)
    assert found.fingerprint == features.fingerprint
    assert {name: one.kind for name, one in found.sets.items()} == {n: one.kind for n, one in features.sets.items()}


def embed(dynamics: Dynamics) -> Features:
    vectors = np.arange(6 * 3, dtype=np.float32).reshape(6, 3)
    return Features("enc", {"v": 1}, dynamics.examples, {"text": FeatureSet(vectors[:4], vectors[4:])})


def test_rows_are_found_again_by_their_digests(tmp_path: Path, dynamics: Dynamics) -> None:
    digests = [example.digest for example in dynamics.pool], [example.digest for example in dynamics.test]
    write_features(tmp_path / "a.h5", embed(dynamics), *digests)
    _, pool, test = read_feature_rows(tmp_path / "a.h5")
    assert [list(pool), list(test)] == list(digests)


def test_features_of_other_examples_are_refused(tmp_path: Path, dynamics: Dynamics) -> None:
    features = embed(dynamics)
    check_features(features, dynamics, tmp_path / "a.h5")
    other = replace(dynamics, pool=(Example("p0", "another", "text"), *dynamics.pool[1:]))
    with pytest.raises(DataError, match=r"a\.h5 holds features of other examples.*run gptfl featurize again"):
        check_features(features, other, tmp_path / "a.h5")
    short = replace(features, sets={"text": FeatureSet(np.ones((3, 2)), np.ones((2, 2)))})
    with pytest.raises(DataError, match=r"'text' has 3 \+ 2 rows for 4 \+ 2 examples"):
        check_features(short, dynamics, tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "gave no vectors"),
        ({"a": FeatureSet(np.ones((4, 2)), np.ones((2, 3)))}, r"shapes \(4, 2\) and \(2, 3\)"),
        ({"a": FeatureSet(np.ones(4), np.ones(2))}, r"shapes \(4,\) and \(2,\)"),
        ({"a": FeatureSet(np.ones((3, 2)), np.ones((2, 2)))}, "3 rows for 4 pool examples"),
        ({"a": FeatureSet(np.full((4, 1), "x"), np.full((2, 1), "x"))}, "only arrays of integers, floats"),
    ],
)
def test_misshapen_features_are_not_written(
    tmp_path: Path, dynamics: Dynamics, sets: dict[str, FeatureSet], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_features(tmp_path / "a.h5", replace(embed(dynamics), sets=sets), ["d"] * 4, ["d"] * 2)
    assert list(tmp_path.iterdir()) == []


@given(feature_files(), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_a_file_read_in_rows_is_the_file_read_whole(features: Features, step: int, random: Random) -> None:
    one = next(iter(features.sets.values()))
    sides = [
        tuple(Example(f"{side}{place}", "a", "b") for place in range(count))
        for side, count in (("p", len(one.train)), ("t", len(one.test)))
    ]
    dynamics = Dynamics(*sides, {}, ())
    whole = replace(features, examples=dynamics.examples)
    kept = [np.array([random.random() < 0.6 for _ in side], dtype=bool) for side in sides]
    some = {n: FeatureSet(o.train[kept[0]], o.test[kept[1]], o.kind) for n, o in features.sets.items()}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "a.h5"
        write_features(path, whole)
        patch.setattr("gptfl.store.features.BLOCK_BYTES", 8)
        with open_features(path, dynamics) as reader:
            assert (
                reader.fingerprint(whole.examples, *(np.ones(len(side), dtype=bool) for side in sides))
                == whole.fingerprint
            )
            assert reader.fingerprint("some", *kept) == replace(whole, examples="some", sets=some).fingerprint
            parts = [reader.rows(start, start + step) for start in range(0, len(one.train), step)]
            for name, expected in features.sets.items():
                read = np.concatenate([part[name] for part in parts])
                assert read.dtype == expected.train.dtype
                np.testing.assert_array_equal(read, expected.train)


def test_an_open_file_must_be_of_the_recording(tmp_path: Path, dynamics: Dynamics) -> None:
    write_features(tmp_path / "a.h5", embed(dynamics))
    other = replace(dynamics, pool=(Example("p0", "another", "text"), *dynamics.pool[1:]))
    with (
        pytest.raises(DataError, match=r"a\.h5 holds features of other examples.*run gptfl featurize again"),
        open_features(tmp_path / "a.h5", other),
    ):
        pass


@pytest.mark.parametrize(("value", "taken"), [(np.nan, False), (np.inf, False), (3e38, False), (1e14, True)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_vectors_that_nothing_can_be_computed_with(value: float, taken: bool, dtype: str) -> None:
    train = np.ones((2, 3), dtype)
    train[1, 1] = value
    features = Features("e", {}, "x", {"a": FeatureSet(train, np.ones((1, 3), "f2"))})
    if taken:
        check_numbers(features, Path("x.h5"))
    else:
        with pytest.raises(DataError, match=r"x\.h5: the set 'a' holds numbers that are not finite, or beyond"):
            check_numbers(features, Path("x.h5"))
