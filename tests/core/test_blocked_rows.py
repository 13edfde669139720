"""Rows that are read some at a time behave as the array that they are of."""

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, fingerprint
from gptfl.core import blocked_rows as module
from gptfl.core.blocked_rows import (
    BlockedRows,
    ChosenRows,
    GatheredRows,
    ScaledRows,
    StackedRows,
    chosen,
    row_blocks,
    stacked_rows,
    whole_digest,
)


class Held(BlockedRows):
    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, start, stop):
        return self.array[start:stop]

    def take(self, places):
        assert (np.diff(places) > 0).all()
        return self.array[places]


ARRAY = np.arange(33.0, dtype=np.float32).reshape(11, 3)


def every():
    more = ARRAY[:2] * 2
    source, row = np.array([1, 0, 1, 1, 0, 1]), np.array([4, 1, 4, 0, 0, 2])
    return {
        "held": (Held(ARRAY), ARRAY),
        "chosen": (ChosenRows(Held(ARRAY), np.array([1, 4, 5, 9])), ARRAY[[1, 4, 5, 9]]),
        "gathered": (
            GatheredRows([more.astype(np.float64), Held(ARRAY)], source, row, ARRAY.dtype),
            np.stack([(more, ARRAY)[one][place] for one, place in zip(source, row, strict=True)]),
        ),
        "stacked": (StackedRows(Held(ARRAY), more), np.concatenate([ARRAY, more])),
    }


@pytest.mark.parametrize("kind", every())
@pytest.mark.parametrize(
    "key",
    [slice(None), slice(1, 3), slice(-2, None), slice(3, 1), slice(None, None, 2), [2, 0, 2], [-1, 1], []],
    ids=str,
)
def test_rows_are_taken_as_from_the_array(kind, key):
    rows, array = every()[kind]
    key = key if isinstance(key, slice) else np.array(key, dtype=int)
    np.testing.assert_array_equal(rows[key], array[key])
    assert (len(rows), rows.size, rows.nbytes, rows.ndim) == (len(array), array.size, array.nbytes, 2)


class Read(BlockedRows):
    """Rows that can only be read one after the other; ``held`` is the most of them at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.held = array, array.shape, array.dtype, 0

    def read(self, start, stop):
        self.held = max(self.held, stop - start)
        return self.array[start:stop]


@pytest.mark.parametrize("most", [1, 2, 4, 100])
@pytest.mark.parametrize("places", [[], [3], [0, 1, 2], [0, 3, 4, 9, 10], range(11)])
def test_rows_at_places_are_read_some_at_a_time(places, most, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", most * 12)
    rows = Read(ARRAY)
    places = np.array(places, dtype=np.int64)
    np.testing.assert_array_equal(rows.take(places), ARRAY[places])
    assert rows.held <= most


def test_a_mask_takes_rows_and_what_is_no_place_is_refused():
    rows = Held(ARRAY)
    for place in (0, 10, -1, np.int32(4)):
        np.testing.assert_array_equal(rows[place], ARRAY[place])
    np.testing.assert_array_equal(rows[ARRAY[:, 0] > 20], ARRAY[ARRAY[:, 0] > 20])
    for wrong, error in (
        (np.array([11]), IndexError),
        (np.array([-12]), IndexError),
        (np.array([0.5]), TypeError),
        (11, IndexError),
    ):
        with pytest.raises(error):
            rows[wrong]


def test_all_rows_are_had_as_an_array_but_not_without_a_copy():
    np.testing.assert_array_equal(np.asarray(Held(ARRAY)), ARRAY)
    assert np.asarray(Held(ARRAY), dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.array(Held(ARRAY), copy=False)


@pytest.mark.parametrize("rows", [ARRAY, Held(ARRAY)], ids=["array", "blocked"])
def test_blocks_follow_one_another(rows, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 50)
    found = list(row_blocks(rows))
    assert [start for start, _ in found] == [0, 4, 8]
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), ARRAY)
    assert [len(block) for _, block in row_blocks(rows, 6)] == [6, 5]


def test_features_in_blocks_have_the_fingerprint_of_those_in_memory(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 50)
    assert fingerprint(Held(ARRAY)) == fingerprint(ARRAY)
    dense = Features("e", {}, "x", {"s": FeatureSet(ARRAY, ARRAY[:2])})
    blocked = Features("e", {}, "x", {"s": FeatureSet(Held(ARRAY), ARRAY[:2])})
    assert (dense.in_blocks, blocked.in_blocks) == (False, True)
    assert dense.fingerprint == blocked.fingerprint
    assert dense.in_memory() is dense
    np.testing.assert_array_equal(blocked.in_memory().sets["s"].train, ARRAY)


def test_some_and_further_rows_stay_in_blocks():
    rows = Held(ARRAY)
    rows.digest = "d"
    assert chosen(rows, np.arange(11)) is rows
    some = chosen(rows, np.array([1, 2]))
    assert isinstance(some, ChosenRows)
    assert isinstance(stacked_rows(rows, ARRAY[:1]), StackedRows)
    np.testing.assert_array_equal(chosen(ARRAY, np.array([1, 2])), ARRAY[1:3])
    np.testing.assert_array_equal(stacked_rows(ARRAY, ARRAY[:1]), np.concatenate([ARRAY, ARRAY[:1]]))
    assert (whole_digest(rows), whole_digest(some), whole_digest(ARRAY)) == ("d", "d", None)


def test_rows_are_scaled_each_by_its_number():
    array, by = np.arange(12.0).reshape(6, 2), np.array([1.0, -2.0, 0.0, 3.0, 0.5, 1.0])
    found = ScaledRows(Held(array), by)
    np.testing.assert_array_equal(np.asarray(found), array * by[:, None])
    np.testing.assert_array_equal(found[1:4], (array * by[:, None])[1:4])
    np.testing.assert_array_equal(found[[4, 0]], (array * by[:, None])[[4, 0]])
