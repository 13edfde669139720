"""Runs that the callback records under the name ``own``."""

from pathlib import Path
from typing import Any

import gptfl
from gptfl.core import Dynamics, GradientSketches
from gptfl.store.recordings import read_dynamics


def callback(where: Path, **options: Any) -> Any:
    """A callback that says nothing and measures every second step."""
    return gptfl.GptflCallback("own", workspace=where, **{"every": 2, "say": lambda line: None, **options})


def recorded(where: Path) -> Dynamics:
    """What was recorded."""
    return read_dynamics(where / "own.dynamics.h5")


def sketched(where: Path) -> GradientSketches:
    """The sketches that were recorded."""
    found = recorded(where).sketches
    assert found is not None
    return found
