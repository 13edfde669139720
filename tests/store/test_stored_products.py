"""Gradient products in a recording's file, read some rows at a time after it was closed."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import GradientProducts, blocked_rows
from gptfl.core.blocked_products import BlockedProducts
from gptfl.errors import DataError
from gptfl.store import gradients as module
from gptfl.store import stored_products
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.testing import make_dynamics

RAW = np.random.default_rng(0).normal(size=(2, 300, 4)).astype(np.float32)
OWN = np.ones((2, 300), np.float32)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A recording with products, which are to be read in blocks of few rows."""
    dynamics = make_dynamics(pool=300, test=4)
    gradients = GradientProducts(
        0, np.array([0, 3]), np.ones(len(dynamics.runs[0].curriculum.batches)), RAW, RAW * np.nan, OWN, OWN * np.nan
    )
    write_dynamics(tmp_path / "a.dynamics.h5", replace(dynamics, gradients=gradients))
    monkeypatch.setattr(module, "LARGE", RAW.size)
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 4 * 4 * 7)
    return tmp_path / "a.dynamics.h5"


def test_what_is_read_is_what_was_written(path, monkeypatch):
    raw = read_dynamics(path).gradients.raw
    assert isinstance(raw, BlockedProducts)
    np.testing.assert_array_equal(np.asarray(raw), RAW)
    for places in ([], [0], [299], [3, 5, 8, 290, 299], list(range(0, 300, 11))):
        np.testing.assert_array_equal(raw[1].take(np.array(places, dtype=int)), RAW[1, places])
    np.testing.assert_array_equal(raw[0][17:41], RAW[0, 17:41])
    assert len(stored_products.ELSE) == 2
    known = read_dynamics(path).gradients.fingerprint
    monkeypatch.setattr(module, "LARGE", RAW.size + 1)
    whole = read_dynamics(path).gradients
    assert isinstance(whole.raw, np.ndarray)
    assert whole.fingerprint == known


def test_they_are_written_into_another_recording(path):
    write_dynamics(path.with_name("b.dynamics.h5"), read_dynamics(path))
    again = read_dynamics(path.with_name("b.dynamics.h5")).gradients
    np.testing.assert_array_equal(np.asarray(again.raw), RAW)


def test_a_file_that_is_gone_is_told_in_a_line(path):
    raw = read_dynamics(path).gradients.raw
    path.unlink()
    with pytest.raises(DataError, match=r"a\.dynamics\.h5"):
        raw[0].read(0, 3)
