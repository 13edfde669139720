"""Whoever needs all vectors of a large pool at once is told what that takes, and refused where there isn't so much."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import ResourceError
from gptfl.features import whole
from gptfl.features.whole import in_memory, memory_needed
from gptfl.store import features as stored
from gptfl.store.features import read_features, write_features


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
