"""Simulators of a small recording, fitted once. Nothing may be changed in place: use ``dataclasses.replace``."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from gptfl.simulation.fit import fit
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic


@pytest.fixture(scope="session")
def source_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FittedSimulator]:
    """The simulator of an estimator, fitted to 8 of 12 runs of 6 steps over 10 examples."""
    folder: Path = tmp_path_factory.mktemp("sources")
    dynamics, features = synthetic(12, pool=10, test=5, steps=6, every=2, batch_size=2, subset=6)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)

    @cache
    def source(estimator: str) -> FittedSimulator:
        fitted = fit(estimator, workspace=folder)
        return open_fitted(fitted.path, None, folder, None, None)

    return source
