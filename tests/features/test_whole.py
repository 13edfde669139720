"""Whoever needs all vectors of a large pool at once is told what that takes, and refused where there isn't so much."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, GradientProducts
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import ResourceError
from gptfl.features import whole
from gptfl.features.whole import in_memory, memory_needed, products_in_memory
from gptfl.store import features as stored
from gptfl.store.features import read_features, write_features
from tests.core.test_blocked_rows import Held


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Features:
    monkeypatch.setattr(stored, "LARGE", 1)
    vectors = np.arange(40.0, dtype=np.float16).reshape(10, 4)
    write_features(tmp_path / "a.h5", Features("enc", {}, "0123", {"text": FeatureSet(vectors, vectors[:2])}))
    return read_features(tmp_path / "a.h5")


def test_what_fits_is_read_and_told(blocked: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_needed(blocked) == 3 * 4 * (40 + 8)
    monkeypatch.setattr(whole, "free_memory", lambda: memory_needed(blocked))
    found, notes = in_memory(blocked, "gptfluence")
    assert not isinstance(found.sets["text"].train, BlockedRows)
    assert found.fingerprint == blocked.fingerprint
    assert notes == ("gptfluence needs all vectors of the pool at once, up to 5.8e-07 GB of memory",)
    assert in_memory(found, "gptfluence") == (found, ())


def test_what_does_not_fit_is_refused_in_a_line(blocked: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "free_memory", lambda: memory_needed(blocked) - 1)
    with pytest.raises(
        ResourceError, match=r"gptfluence needs all .* memory, and .* GB are free: take exposure-gp"
    ) as told:
        in_memory(blocked, "gptfluence")
    assert "\n" not in str(told.value)
    monkeypatch.setattr(whole, "free_memory", lambda: None)
    assert not in_memory(blocked, "gptfluence")[0].in_blocks


def test_gradient_products_are_taken_into_memory_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.ones((1, 11, 3), np.float32)
    rows: list[BlockedRows] = [Held(raw[0])]
    own = raw[:, :, 0]
    given = GradientProducts(
        0, np.array([0]), np.ones(2), as_products(BlockedProducts(rows)), as_products(BlockedProducts(rows)), own, own
    )
    monkeypatch.setattr(whole, "free_memory", lambda: 2 * 2 * 33 * 4)
    found = products_in_memory(given, "acme")
    np.testing.assert_array_equal(found.raw, raw)
    assert products_in_memory(found, "acme") is found
    monkeypatch.setattr(whole, "free_memory", lambda: 2 * 2 * 33 * 4 - 1)
    with pytest.raises(ResourceError, match=r"acme needs all gradient products at once, up to .*: take an estimator"):
        products_in_memory(given, "acme")
