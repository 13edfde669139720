"""Prediction files: the curricula that were asked for, and the trajectories that came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo
from gptfl.errors import DataError
from gptfl.store import files, hdf5
from gptfl.store.examples import metric_from_json, metric_to_json
from gptfl.store.kinds import PREDICTIONS

AVERAGE_RUN = "the average recorded run"
"""What a simulation is held against unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """Predicted trajectories of one metric for several curricula.

    ``reference`` is what they are held against at ``steps`` (NaN where not known), and ``against``
    says what that is; ``intervals`` maps a level such as 0.9 to its lower and upper bounds;
    ``novelty`` tells of each curriculum how far it lies from what was recorded, where the estimator says so;
    ``dynamics`` and ``simulator`` are fingerprint and key of what made them.
    """

    estimator: str
    metric: MetricInfo
    labels: Sequence[str]
    batches: Int[np.ndarray, "run step batch"]
    learning_rates: Float[np.ndarray, "run step"]
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "run recorded test"]
    reference: Float[np.ndarray, "recorded test"]
    dynamics: str
    simulator: str
    intervals: Mapping[float, tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]] = (
        field(default_factory=dict)
    )
    settings: Mapping[str, Any] = field(default_factory=dict)
    against: str = AVERAGE_RUN
    novelty: Float[np.ndarray, " run"] | None = None


def write_predictions(path: Path, predictions: PredictionFile) -> None:
    """Write predictions. Raises ``DataError`` if shapes disagree, ``ResourceError`` if it can't be written."""
    _check(predictions, str(path))
    inputs = {"dynamics": predictions.dynamics, "simulator": predictions.simulator}
    with files.create(path, PREDICTIONS, settings=predictions.settings, inputs=inputs) as file:
        hdf5.put_word(file, "estimator", predictions.estimator)
        hdf5.put_word(file, "against", predictions.against)
        hdf5.put_text(file, "metric", metric_to_json(predictions.metric))
        hdf5.put_lines(file, "labels", list(predictions.labels))
        for name in ("batches", "learning_rates", "steps", "values", "reference"):
            hdf5.put_array(file, name, getattr(predictions, name))
        if predictions.novelty is not None:
            hdf5.put_array(file, "novelty", predictions.novelty)
        group = file.create_group("intervals")
        for number, (level, (low, high)) in enumerate(predictions.intervals.items()):
            one = group.create_group(f"{number:02d}")
            hdf5.put_number(one, "level", float(level))
            hdf5.put_array(one, "low", low)
            hdf5.put_array(one, "high", high)


def read_predictions(path: Path) -> PredictionFile:
    """Read predictions. Raises ``DataError``."""
    with files.open_file(path, PREDICTIONS) as file:
        header = files.header_of(file)
        group = hdf5.get_group(file, "intervals")
        intervals = {}
        for name in hdf5.names_in(group):
            one = hdf5.get_group(group, name)
            bounds = hdf5.get_array(one, "low", 3, "f"), hdf5.get_array(one, "high", 3, "f")
            intervals[hdf5.get_float(one, "level")] = bounds
        predictions = PredictionFile(
            estimator=hdf5.get_word(file, "estimator"),
            metric=metric_from_json(hdf5.get_text(file, "metric"), f"{path}: /metric"),
            labels=list(hdf5.get_lines(file, "labels", texts=True)),
            batches=hdf5.get_array(file, "batches", 3, "i"),
            learning_rates=hdf5.get_array(file, "learning_rates", 2, "f"),
            steps=hdf5.get_array(file, "steps", 1, "i"),
            values=hdf5.get_array(file, "values", 3, "f"),
            reference=hdf5.get_array(file, "reference", 2, "f"),
            dynamics=str(header.inputs.get("dynamics")),
            simulator=str(header.inputs.get("simulator")),
            intervals=intervals,
            settings=header.settings,
            against=_against(file, header.settings),
            novelty=hdf5.get_array(file, "novelty", 1, "f") if "novelty" in file else None,
        )
    _check(predictions, str(path))
    return predictions


def _against(file: h5py.File, settings: Mapping[str, Any]) -> str:
    if "against" in file.attrs:
        return hdf5.get_word(file, "against")
    # Files from before the attribute say so in their settings alone.
    against = settings.get("against")
    return against if isinstance(against, str) else AVERAGE_RUN


def _check(predictions: PredictionFile, where: str) -> None:
    if predictions.values.ndim != 3:
        raise DataError(
            f"{where}: values has shape {predictions.values.shape}", "it must be run by step by test example"
        )
    runs, recorded, test = predictions.values.shape
    shapes = {
        "labels": ((len(predictions.labels),), (runs,)),
        "batches": (predictions.batches.shape[:1], (runs,)),
        "learning_rates": (predictions.learning_rates.shape, predictions.batches.shape[:2]),
        "steps": (predictions.steps.shape, (recorded,)),
        "reference": (predictions.reference.shape, (recorded, test)),
    }
    if predictions.novelty is not None:
        shapes["novelty"] = (predictions.novelty.shape, (runs,))
    for level, bounds in predictions.intervals.items():
        for bound in bounds:
            shapes[f"intervals at {level}"] = (bound.shape, (runs, recorded, test))
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise DataError(f"{where}: {name} has shape {found}, not {expected}", "run gptfl simulate again")
