"""Blocks of vectors beside an unfinished features file: each is whole, and of the work that its folder is named after."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import FeatureSet
from gptfl.errors import DataError, ResourceError
from gptfl.store.feature_blocks import FeatureBlocks, RowsOfBlocks

VECTORS = np.arange(24.0, dtype=np.float32).reshape(8, 3)
KEYS = ["a", "b", "c"], ["t"]


def block(rows: slice, test: int = 1) -> dict[str, FeatureSet]:
    return {"text": FeatureSet(VECTORS[rows], -VECTORS[:test])}


def blocks(folder: Path, work: str = "0123", **identity: object) -> FeatureBlocks:
    return FeatureBlocks(folder / "a.enc.features.h5", "enc", identity, work)


def test_a_block_is_there_as_it_was_kept(tmp_path: Path) -> None:
    kept = blocks(tmp_path, width=3)
    assert kept.find(0, KEYS) is None
    kept.keep(0, block(slice(0, 3)), 2.5, KEYS)
    found = kept.find(0, KEYS)
    assert found is not None
    assert found.seconds == 2.5
    np.testing.assert_array_equal(found.sets["text"].train, VECTORS[:3])
    np.testing.assert_array_equal(kept.read(0)["text"].test, -VECTORS[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.enc.features.h5.blocks-0123"]
    kept.remove()
    assert not list(tmp_path.iterdir())


def test_blocks_without_rows_of_one_side_are_kept_too(tmp_path: Path) -> None:
    kept = blocks(tmp_path)
    kept.keep(0, {"text": FeatureSet(VECTORS[:0], VECTORS[:2])}, 0.0, ([], ["t", "u"]))
    found = kept.find(0, ([], ["t", "u"]))
    assert found is not None
    assert found.sets["text"].train.shape == (0, 3)


@pytest.mark.parametrize("other", ["examples", "settings", "damage"])
def test_a_block_of_other_examples_or_settings_is_none_of_these(tmp_path: Path, other: str) -> None:
    kept = blocks(tmp_path, width=3)
    kept.keep(0, block(slice(0, 3)), 0.0, KEYS)
    (path,) = kept.folder.iterdir()
    if other == "damage":
        path.write_bytes(path.read_bytes()[:-20])
    asked = blocks(tmp_path, width=4 if other == "settings" else 3)
    keys = (["a", "b", "x"], ["t"]) if other == "examples" else KEYS
    with pytest.raises(DataError, match=r"block-000000\.h5"):
        asked.find(0, keys)


def test_folders_of_other_work_on_the_same_file_are_named(tmp_path: Path) -> None:
    one, other = blocks(tmp_path), blocks(tmp_path, work="4567")
    assert one.others() == []
    other.keep(0, block(slice(0, 3)), 0.0, KEYS)
    (tmp_path / "b.enc.features.h5.blocks-0123").mkdir()
    assert one.others() == [other.folder]
    assert blocks(tmp_path / "nowhere").others() == []


def test_rows_are_read_across_blocks(tmp_path: Path) -> None:
    kept = blocks(tmp_path)
    parts = (slice(0, 3), slice(3, 3), slice(3, 7), slice(7, 8))
    for number, rows in enumerate(parts):
        kept.keep(number, block(rows), 0.0, ())
    rows = RowsOfBlocks(kept, "text", np.array([3, 3, 7, 8]), 3)
    np.testing.assert_array_equal(np.asarray(rows), VECTORS)
    np.testing.assert_array_equal(rows[2:5], VECTORS[2:5])
    np.testing.assert_array_equal(rows[[7, 0, 3, 0]], VECTORS[[7, 0, 3, 0]])
    np.testing.assert_array_equal(np.concatenate([block for _, block in rows.blocks(2)]), VECTORS)


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResourceError, match=r"a\.enc\.features\.h5\.blocks-0123 can't be written"):
        blocks(tmp_path / "file").keep(0, block(slice(0, 3)), 0.0, KEYS)
