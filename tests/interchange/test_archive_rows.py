"""Sketches of an archive that are read some rows at a time are those that are read at once."""

import numpy as np
import pytest

from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.interchange import sketch_archive
from gptfl.interchange.archive_rows import ArchiveRows
from gptfl.interchange.sketch_archive import read_sketches


def archive(path, save=np.savez, **more):
    random = np.random.default_rng(0)
    arrays = {"tr0": random.normal(size=(9, 4)).astype(np.float16), "te0": random.normal(size=(3, 4))}
    save(path, **{**arrays, "trp0": 2 * arrays["tr0"], "tr0_scale": np.float32(3), **more})
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_sketches_are_read_in_any_order_of_blocks(tmp_path, monkeypatch, save):
    path = archive(tmp_path / "s.npz", save)
    (whole,) = read_sketches(path, 9, 3)
    monkeypatch.setattr(sketch_archive, "LARGE", 72)
    (point,) = read_sketches(path, 9, 3)
    assert isinstance(point.train, BlockedRows)
    assert isinstance(point.preconditioned, BlockedRows)
    for ours, theirs in ((point.train, whole.train), (point.preconditioned, whole.preconditioned)):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
        np.testing.assert_array_equal(ours[5:8], theirs[5:8])
        np.testing.assert_array_equal(ours[2:4], theirs[2:4])
        np.testing.assert_array_equal(ours[np.array([7, 1, 1])], theirs[[7, 1, 1]])


def test_a_number_that_is_not_finite_is_refused_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sketch_archive, "LARGE", 1)
    wrong = np.ones((9, 4))
    wrong[8, 0] = np.inf
    (point,) = read_sketches(archive(tmp_path / "s.npz", tr0=wrong), 9, 3)
    assert len(point.train[:8]) == 8
    with pytest.raises(DataError, match="'tr0' holds values that are not finite"):
        point.train[8:]


def test_columns_in_order_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sketch_archive, "LARGE", 1)
    turned = np.asfortranarray(np.arange(36.0).reshape(9, 4))
    (point,) = read_sketches(archive(tmp_path / "s.npz", tr0=turned), 9, 3)
    np.testing.assert_array_equal(point.train, 3 * turned.astype(np.float32))


def test_a_truncated_array_is_one_line(tmp_path):
    path = archive(tmp_path / "s.npz")
    rows = ArchiveRows(path, "tr0.npy", (20, 4), np.dtype(np.float16), 128, 1.0)
    with pytest.raises(DataError, match=r"tr0.npy can't be read \(it is truncated\)"):
        rows[:20]
