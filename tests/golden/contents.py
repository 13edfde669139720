"""What files hold, as plain values, by the readers that gptfl has for them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gptfl.core import Dynamics, examples_fingerprint, run_fingerprint, silent
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.recording.recording import open_recording
from gptfl.store.features import read_features
from gptfl.store.predictions import PredictionFile, read_predictions
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.run_files import read_run
from gptfl.store.simulators import read_simulator


def settings_json(path: Path) -> str:
    """The settings of a file, byte for byte."""
    with h5py.File(path, "r") as file:
        return bytes(file["settings"][()]).decode()


def written_again(path: Path, target: Path) -> None:
    """Read a recording and write it to another path."""
    write_dynamics(target, read_dynamics(path))


def about_recording(path: Path) -> dict[str, Any]:
    """All that identifies a recording and its parts."""
    found = read_dynamics(path)
    return {
        "fingerprint": found.fingerprint,
        "examples": found.examples,
        "pool": examples_fingerprint(found.pool, ()),
        "test": examples_fingerprint((), found.test),
        "metrics": list(found.metrics),
        "runs": {f"{run.index} {run.seed} {run.role}": run_fingerprint(run) for run in found.runs},
        "gradients": None if found.gradients is None else found.gradients.fingerprint,
        "products": None if found.known_products is None else found.known_products.fingerprint,
        "sketches": None if found.sketches is None else _of_arrays(_sketches(found)),
    }


def _sketches(found: Dynamics) -> dict[str, np.ndarray]:
    """The sketches of a recording, read in whole."""
    sides = ("train", "test", "preconditioned", "split_train", "split_test")
    points = found.sketches.points if found.sketches is not None else ()
    arrays = {f"{point.step} {side}": getattr(point, side) for point in points for side in sides}
    return {name: array for name, array in arrays.items() if array is not None}


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of arrays as they are."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def about_run(path: Path) -> dict[str, Any]:
    """All that identifies a run that lies beside a recording."""
    found, header = read_run(path)
    return {"run": run_fingerprint(found), **header.inputs}


def ids(path: Path) -> tuple[list[str], list[str]]:
    """The ids of a recording's pool and test examples."""
    found = read_dynamics(path)
    return [example.id for example in found.pool], [example.id for example in found.test]


def recorded_scores(path: Path, run_index: int, metric: str) -> tuple[list[list[int]], list[int], np.ndarray]:
    """The batches of a recorded run, the steps that it was measured at, and one metric."""
    found = next(run for run in read_dynamics(path).runs if run.index == run_index)
    return found.curriculum.batches.tolist(), found.steps.tolist(), found.metrics[metric]


def first_scores(path: Path) -> dict[str, float] | None:
    """What was measured of a recording's pool before any training, and kept beside it."""
    recording = open_recording(path)
    metric = next(iter(recording.dynamics.metrics.values()))
    found = measure_initial_metrics(recording, metric, None, None, silent)
    if found is None:
        return None
    return {example.id: float(value) for example, value in zip(recording.dynamics.pool, found.values, strict=True)}


def about_features(path: Path) -> dict[str, Any]:
    """All that identifies features."""
    found = read_features(path)
    return {
        "encoder": found.encoder,
        "examples": found.examples,
        "fingerprint": found.fingerprint,
        "sets": {name: [one.kind, *one.train.shape, len(one.test)] for name, one in found.sets.items()},
    }


def about_simulator(path: Path) -> dict[str, Any]:
    """All that identifies a simulator."""
    found = read_simulator(path)
    return {
        "estimator": found.estimator,
        "key": found.key,
        "metric": found.metric.name,
        "dynamics": found.dynamics,
        "examples": found.examples,
        "features": found.features,
        "settings": settings_json(path),
        "state": _of_arrays(found.state),
    }


def stored_predictions(path: Path) -> dict[str, Any]:
    """What a predictions file holds."""
    return plain(read_predictions(path))


def plain(found: PredictionFile) -> dict[str, Any]:
    bounds = {
        f"{side} {level:g}": found.intervals[level][place]
        for level in found.intervals
        for place, side in enumerate(("low", "high"))
    }
    return {
        "about": [
            found.estimator,
            found.metric.name,
            list(found.labels),
            found.against,
            found.dynamics,
            found.simulator,
        ],
        "settings": {key: value for key, value in dict(found.settings).items() if key != "notes"},
        "notes": list(found.settings.get("notes", ())),
        "batches": found.batches,
        "learning_rates": found.learning_rates,
        "steps": found.steps,
        "values": found.values,
        "reference": found.reference,
        **bounds,
        **({} if found.novelty is None else {"novelty": found.novelty}),
    }
