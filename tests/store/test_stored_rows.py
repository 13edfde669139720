"""Vectors of a features file, read some rows at a time after it was closed."""

import h5py
import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.store import features as stored
from gptfl.store import stored_rows as module
from gptfl.store.features import read_features, write_features

ARRAY = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
GIVEN = Features("e", {}, "x", {"s": FeatureSet(ARRAY, ARRAY[:5])})


@pytest.fixture(params=["flat", "packed"])
def rows(request, tmp_path, monkeypatch):
    """Rows that lie one after the other, and rows in packed chunks, as earlier versions wrote them."""
    if request.param == "flat":
        monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    write_features(tmp_path / "a.h5", GIVEN)
    monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    found = read_features(tmp_path / "a.h5").sets["s"].train
    assert isinstance(found, BlockedRows)
    return found


@pytest.mark.parametrize(
    "places",
    [[0], [499], [3, 5, 8, 300, 301, 499], list(range(0, 500, 70)), list(range(500)), []],
    ids=["first", "last", "some", "far apart", "all", "none"],
)
def test_any_rows_are_read(rows, places):
    np.testing.assert_array_equal(rows.take(np.array(places, dtype=int)), ARRAY[places])


def test_slices_and_all_rows_are_read(rows):
    np.testing.assert_array_equal(rows[17:401], ARRAY[17:401])
    np.testing.assert_array_equal(np.asarray(rows), ARRAY)
    assert rows.digest is not None


def test_of_known_vectors_nothing_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    path = tmp_path / "a.h5"
    write_features(path, GIVEN)
    with h5py.File(path) as file:
        place = file["sets/s/train"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert read_features(path, known=True).sets["s"].train.digest is not None
    with pytest.raises(DataError, match="is not as it was written"):
        read_features(path)


def test_a_file_that_became_shorter_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    path = tmp_path / "a.h5"
    write_features(path, GIVEN)
    rows = read_features(path).sets["s"].train
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(DataError, match="has become shorter: make it again"):
        rows[:]


def test_numbers_in_the_other_order_of_bytes_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    other = ARRAY.astype(">f4")
    write_features(tmp_path / "a.h5", Features("e", {}, "x", {"s": FeatureSet(other, other[:5])}))
    rows = read_features(tmp_path / "a.h5").sets["s"].train
    np.testing.assert_array_equal(rows[3:9], ARRAY[3:9])
    assert rows.dtype == np.dtype(np.float32)


def test_pieces_are_near_and_not_too_long():
    assert module._pieces(np.array([1, 2, 70, 200, 201]), 100) == [(0, 2), (2, 3), (3, 5)]
    assert module._pieces(np.array([98, 99, 100, 101]), 100) == [(0, 2), (2, 4)]
    assert module._pieces(np.array([], dtype=int), 100) == []
