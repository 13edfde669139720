"""The vectors of a pool, some rows at a time."""

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.features import vectors
from gptfl.features.vectors import VectorsInMemory, blocks

SETS = {
    "a": FeatureSet(np.arange(20, dtype=np.float32).reshape(10, 2), np.zeros((1, 2))),
    "b": FeatureSet(np.arange(30, dtype=np.float64).reshape(10, 3), np.zeros((1, 3))),
}
KEPT = VectorsInMemory(Features("x", {}, "", SETS))


def test_rows_are_those_of_every_set() -> None:
    found = KEPT.rows(3, 6)
    assert list(found) == ["a", "b"]
    for name, one in SETS.items():
        np.testing.assert_array_equal(found[name], one.train[3:6])
    assert KEPT.width == 2 * 4 + 3 * 8
    assert VectorsInMemory(None).width == 0
    assert VectorsInMemory(None).rows(0, 5) == {}


@pytest.mark.parametrize("fits", [1, 3, 10, 11])
def test_blocks_go_through_the_pool_once_and_fit(monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    monkeypatch.setattr(vectors, "CHUNK_BYTES", fits * KEPT.width)
    found = list(blocks(KEPT, 10))
    assert [place for start, stop in found for place in range(start, stop)] == list(range(10))
    assert max(stop - start for start, stop in found) == min(fits, 10)
    monkeypatch.setattr(vectors, "CHUNK", 2)
    assert max(stop - start for start, stop in blocks(KEPT, 10)) == min(fits, 2)


def test_a_vector_larger_than_a_block_and_no_vector_are_taken_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHUNK_BYTES", 1)
    assert list(blocks(KEPT, 3)) == [(0, 1), (1, 2), (2, 3)]
    assert list(blocks(VectorsInMemory(None), 3)) == [(0, 1), (1, 2), (2, 3)]
    monkeypatch.undo()
    assert list(blocks(VectorsInMemory(None), 3)) == [(0, 3)]
    assert list(blocks(KEPT, 0)) == []
