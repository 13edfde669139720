"""A recording to export, and a folder to import."""

from pathlib import Path

import pytest

# The process that only hands out tests reads this file, too, so each fixture imports what it takes.


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording with scores as ``collect`` writes them, some of them missing."""
    from dataclasses import replace

    import numpy as np

    from gptfl.store.recordings import write_dynamics
    from tests.synthetic import synthetic

    dynamics, runs = synthetic(13)[0], []
    for run in dynamics.runs:
        values = run.metrics["loss"].astype(np.float32)
        values[1, run.index % values.shape[1]] = np.nan
        runs.append(replace(run, metrics={"loss": values}))
    path = tmp_path / "syn.dynamics.h5"
    write_dynamics(path, replace(dynamics, runs=tuple(runs)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs in the released layout."""
    from tests.released import released

    return released(tmp_path / "rte")
