"""Going on with a recording: its runs must be those of its design."""

from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.designs import draws
from gptfl.errors import DataError

SMALL = {"pool": 12, "test": 2, "steps": 4, "batch_size": 3, "lr": 1e-2, "design": "leave-small:0.25"}


def emptied(batches, without, seed):
    return np.where(np.isin(batches, without), -1, batches)


def test_runs_of_a_design_that_dealt_otherwise_are_not_gone_on_with(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as former:
        former.setattr(draws, "refill", emptied)
        path = Path(gptfl.collect(str(neox), "errands", runs=4, workspace=tmp_path, **SMALL).path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"run-0002 was trained on other batches .* by --design leave-small") as caught:
        gptfl.collect(str(neox), "errands", runs=6, workspace=tmp_path, **SMALL)
    assert "another --name" in caught.value.remedy
    assert path.read_bytes() == before
    # The whole pool is dealt as before, and its runs are.
    with monkeypatch.context() as former:
        former.setattr(draws, "refill", emptied)
        gptfl.collect(str(neox), "errands", runs=2, workspace=tmp_path, name="wholes", **SMALL)
    grown = gptfl.collect(str(neox), "errands", runs=4, workspace=tmp_path, name="wholes", **SMALL)
    assert (grown.runs, grown.recorded_now) == (4, 2)
