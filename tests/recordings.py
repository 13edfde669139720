"""A workspace with a synthetic recording, where a third party's estimators are installed and nothing else."""

import shutil
from pathlib import Path

import pytest

# The process that only hands out tests reads this file, too, so each fixture imports what it takes.


@pytest.fixture
def registry():
    """gptfl's own parts and the test plugin's, whatever else is installed."""
    from gptfl.plugins.registry import build, using
    from tests import plugin_estimators

    with using(build([plugin_estimators])) as built:
        yield built


@pytest.fixture(scope="session")
def made_space(tmp_path_factory):
    """What ``space`` is a copy of: none may change it."""
    from gptfl.store.features import write_features
    from gptfl.store.recordings import write_dynamics
    from tests.synthetic import synthetic

    folder = tmp_path_factory.mktemp("space")
    dynamics, features = synthetic(24)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)
    return folder


@pytest.fixture
def space(made_space, tmp_path, registry):
    """A workspace with a recording of 24 runs and its features."""
    return Path(shutil.copytree(made_space, tmp_path, dirs_exist_ok=True))
