"""A recording and a simulator to hold."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import gptfl

# The process that only hands out tests reads this file, too, so each fixture imports what it takes.


@pytest.fixture
def recording(space: Path) -> "gptfl.Recording":
    """The synthetic recording of 24 runs."""
    import gptfl

    return gptfl.open_recording(space / "syn.dynamics.h5")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulator lies that every test has a copy of, once there is one."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def simulator(recording: "gptfl.Recording", kept: Path) -> "gptfl.Simulator":
    """An exposure model fitted to it."""
    import gptfl

    if not any(kept.iterdir()):
        shutil.copy2(recording.fit("exposure-gp").path, kept)
    (made,) = kept.iterdir()
    return gptfl.open_simulator(shutil.copy2(made, recording.path.parent))
