"""Simulator files: what an estimator learned, as named arrays, and from what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import MetricInfo
from gptfl.errors import DataError
from gptfl.store import files, hdf5
from gptfl.store.examples import metric_from_json, metric_to_json
from gptfl.store.kinds import SIMULATOR

UNPACKED = 2**22
"""Floats of so many bytes and more are kept as they are."""


@dataclass(frozen=True, slots=True)
class SimulatorFile:
    """A fitted estimator: its settings and state, and the fingerprints of what it was fitted to.

    ``key`` is the fingerprint of everything that determines the fit; ``info`` is what else is
    worth knowing of it (best epoch, seconds), JSON-able.
    """

    estimator: str
    settings: Mapping[str, Any]
    state: Mapping[str, np.ndarray]
    metric: MetricInfo
    dynamics: str
    examples: str
    features: str | None
    key: str
    info: Mapping[str, Any] = field(default_factory=dict)


def write_simulator(path: Path, simulator: SimulatorFile) -> None:
    """Write a simulator. Raises ``DataError`` if its state is not of numbers, ``ResourceError`` if it can't."""
    inputs = {"dynamics": simulator.dynamics, "examples": simulator.examples}
    if simulator.features is not None:
        inputs["features"] = simulator.features
    with files.create(path, SIMULATOR, settings=simulator.settings, inputs=inputs) as file:
        hdf5.put_word(file, "estimator", simulator.estimator)
        hdf5.put_word(file, "key", simulator.key)
        hdf5.put_text(file, "metric", metric_to_json(simulator.metric))
        hdf5.put_text(file, "info", dict(simulator.info))
        state = file.create_group("state")
        for name, array in simulator.state.items():
            # Sums of many vectors hardly get smaller, and take long to pack.
            hdf5.put_array(state, name, array, packed=array.dtype.kind != "f" or array.nbytes < UNPACKED)


def read_simulator(path: Path) -> SimulatorFile:
    """Read a simulator. Raises ``DataError``."""
    with files.open_file(path, SIMULATOR) as file:
        header = files.header_of(file)
        info = hdf5.get_text(file, "info")
        missing = [name for name in ("dynamics", "examples") if name not in header.inputs]
        if missing or not isinstance(info, dict):
            raise DataError(f"{path} is damaged: it lacks {', '.join(missing) or 'its info'}", "run gptfl fit again")
        state = hdf5.get_group(file, "state")
        return SimulatorFile(
            estimator=hdf5.get_word(file, "estimator"),
            settings=header.settings,
            state={name: hdf5.get_array(state, name) for name in hdf5.names_in(state)},
            metric=metric_from_json(hdf5.get_text(file, "metric"), f"{path}: /metric"),
            dynamics=header.inputs["dynamics"],
            examples=header.inputs["examples"],
            features=header.inputs.get("features"),
            key=hdf5.get_word(file, "key"),
            info=info,
        )
