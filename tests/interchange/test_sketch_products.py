"""Products of imported sketches: computed and written some rows at a time, the same numbers as all at once."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import SketchPoint, blocked_rows
from gptfl.core.blocked_products import BlockedProducts
from gptfl.interchange import sketch_archive, sketch_products
from gptfl.interchange.import_recording import import_
from gptfl.interchange.sketch_archive import read_sketches
from gptfl.interchange.sketch_products import products_of, too_large
from gptfl.recording.gradient_request import products_bytes
from gptfl.store import gradients as stored
from gptfl.store.recordings import read_dynamics
from gptfl.testing import make_dynamics
from tests.released import released, sketches

POOL, TEST, KEPT = 50, 6, np.array([0, 2, 3, 5])


def points():
    """Sketches at two points, divided at the second alone."""
    random = np.random.default_rng(0)
    train, divided, test = (random.normal(size=(2, n, 9)).astype(np.float32) for n in (POOL, POOL, TEST))
    return [SketchPoint(step, train[k], test[k], divided[k] if k else None) for k, step in enumerate((0, 7))]


def check(found, given):
    assert found.steps.tolist() == [0, 7]
    for k, point in enumerate(given):
        for i, j in ((0, 0), (17, 2), (POOL - 1, len(KEPT) - 1)):
            plain = math.fsum(point.train[i].astype(float) * point.test[KEPT[j]])
            np.testing.assert_allclose(np.asarray(found.raw)[k, i, j], plain, rtol=1e-5, atol=1e-5)
        raw = point.train.astype(float) @ point.test[KEPT].T
        np.testing.assert_allclose(np.asarray(found.raw[k]), raw, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.self_raw[k], (point.train.astype(float) ** 2).sum(axis=1), rtol=1e-5)
    assert np.isnan(np.asarray(found.preconditioned[0])).all()
    assert np.isnan(found.self_preconditioned[0]).all()
    divided = given[1].preconditioned.astype(float)
    np.testing.assert_allclose(
        np.asarray(found.preconditioned[1]), divided @ given[1].test[KEPT].T, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        found.self_preconditioned[1], (divided * given[1].train).sum(axis=1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_products_in_blocks_are_those_all_at_once(monkeypatch, block):
    given = points()
    dense = products_of(given, KEPT, np.ones(9))
    assert not dense.in_blocks
    check(dense, given)
    monkeypatch.setattr(sketch_products, "AT_ONCE", 2 * POOL * len(KEPT))
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", block)
    found = products_of(given, KEPT, np.ones(9))
    assert isinstance(found.raw, BlockedProducts)
    assert isinstance(found.preconditioned, BlockedProducts)
    check(found, given)
    np.testing.assert_allclose(found.raw[1][11:30], dense.raw[1, 11:30], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("divided", [True, False])
def test_an_import_by_blocks_holds_the_numbers_of_one_that_is_not(tmp_path, monkeypatch, divided):
    folder, archive = released(tmp_path / "rte"), sketches(tmp_path / "s.npz")
    if not divided:
        with np.load(archive) as saved:
            np.savez(archive, **{name: array for name, array in saved.items() if not name.startswith("trp")})

    def imported(name):
        result = import_("gptdynamics", folder, lr=1.0, sketches=archive, workspace=tmp_path, name=name)
        return read_dynamics(result.path)

    dense = imported("dense")
    monkeypatch.setattr(sketch_products, "AT_ONCE", 1)
    monkeypatch.setattr(sketch_archive, "LARGE", 1)
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 40)
    monkeypatch.setattr(BlockedProducts, "__array__", lambda *_: pytest.fail("all products were computed at once"))
    blocked = imported("blocked")
    assert not blocked.gradients.in_blocks
    for name in ("raw", "preconditioned", "self_raw", "self_preconditioned"):
        ours, theirs = (getattr(one.gradients, name) for one in (dense, blocked))
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
    assert np.isfinite(blocked.gradients.preconditioned[1]).all() == divided
    assert blocked.settings == dense.settings
    assert replace(blocked, gradients=None).fingerprint == replace(dense, gradients=None).fingerprint
    monkeypatch.setattr(stored, "LARGE", 1)
    again = read_dynamics(tmp_path / "blocked.dynamics.h5").gradients
    assert again.in_blocks
    np.testing.assert_array_equal(again.raw[1][2:5], blocked.gradients.raw[1, 2:5])


def test_products_are_left_out_only_where_no_file_would_be_read_that_holds_them(tmp_path, monkeypatch):
    dynamics = make_dynamics(pool=6, test=3)
    given = 2, dynamics.runs, dynamics.pool, dynamics.test
    assert too_large(*given) is None
    needed = products_bytes(2, 6, 3)
    monkeypatch.setattr(sketch_products, "MAX_BYTES", needed)
    assert "products of 6 x 3 gradients at 2 points" in too_large(*given)
    folder, archive = released(tmp_path / "rte"), sketches(tmp_path / "s.npz")
    result = import_("gptdynamics", folder, lr=1.0, sketches=archive, workspace=tmp_path)
    (note,) = [note for note in result.notes if "aren't kept" in note]
    assert "gptfl reads recordings of up to" in note
    assert read_dynamics(result.path).gradients is None
    assert result.features is not None


def test_an_archive_is_read_in_order(tmp_path, monkeypatch):
    path = sketches(tmp_path / "s.npz")
    dense = products_of(read_sketches(path, 6, 3), np.arange(3), np.ones(4))
    monkeypatch.setattr(sketch_archive, "LARGE", 1)
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 40)
    found = products_of(read_sketches(path, 6, 3), np.arange(3), np.ones(4))
    np.testing.assert_allclose(found.raw, dense.raw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.self_preconditioned, dense.self_preconditioned, rtol=1e-5, atol=1e-6)
