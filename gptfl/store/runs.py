"""Runs inside a file: a group for each."""

from collections.abc import Mapping

import h5py
import numpy as np

from gptfl.core import FIT, REPEAT, TEST, VALIDATION, Curriculum, MetricInfo, Run
from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.seconds import get_seconds, put_seconds

ROLES = (FIT, VALIDATION, TEST, REPEAT)
REMEDY = "record it again with gptfl collect"


def put_run(runs: h5py.Group, run: Run) -> None:
    """Keep a run in a group of runs. Raises ``DataError`` if one of its index is there already."""
    if run.name in runs:
        raise DataError(f"{hdf5.path_of(runs)} has {run.name} already", "record under another index")
    group = runs.create_group(run.name)
    hdf5.put_number(group, "index", run.index)
    hdf5.put_number(group, "seed", run.seed)
    hdf5.put_word(group, "role", run.role)
    put_seconds(group, run.seconds)
    hdf5.put_array(group, "batches", run.curriculum.batches)
    hdf5.put_array(group, "learning_rates", run.curriculum.learning_rates)
    hdf5.put_array(group, "steps", run.steps)
    metrics = group.create_group("metrics")
    for name, values in run.metrics.items():
        hdf5.put_array(metrics, name, values)
    if run.derivatives:
        derivatives = group.create_group("derivatives")
        for name, values in run.derivatives.items():
            hdf5.put_array(derivatives, name, values)


def get_run(group: h5py.Group) -> Run:
    """Read a run. Raises ``DataError`` for what is missing or damaged; ``check_run`` says whether it fits."""
    metrics = hdf5.get_group(group, "metrics")
    derivatives = hdf5.get_group(group, "derivatives") if "derivatives" in group else None
    return Run(
        index=hdf5.get_int(group, "index"),
        seed=hdf5.get_int(group, "seed"),
        role=hdf5.get_word(group, "role"),
        curriculum=Curriculum(
            hdf5.get_array(group, "batches", 2, "i"), hdf5.get_array(group, "learning_rates", 1, "f")
        ),
        steps=hdf5.get_array(group, "steps", 1, "i"),
        metrics=_arrays(metrics),
        derivatives={} if derivatives is None else _arrays(derivatives),
        seconds=get_seconds(group),
    )


def _arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    return {name: hdf5.get_array(group, name, 2, "f") for name in hdf5.names_in(group)}


def check_run(
    run: Run, pool: int, test: int, metrics: Mapping[str, MetricInfo], where: str, remedy: str = REMEDY
) -> None:
    """Refuse a run that doesn't fit a recording.

    Args:
        run: the run.
        pool: how many training examples the recording has.
        test: how many test examples it has.
        metrics: those that it records.
        where: the file, for the message.
        remedy: what to do about it, for the message.

    Raises ``DataError``, which says what doesn't fit.
    """
    problem = _problem_with(run, pool, test, metrics)
    if problem:
        raise DataError(f"{where}: {run.name} {problem}", remedy)


def _problem_with(run: Run, pool: int, test: int, metrics: Mapping[str, MetricInfo]) -> str:
    batches, rates, steps = run.curriculum.batches, run.curriculum.learning_rates, run.steps
    if run.index < 0 or run.role not in ROLES:
        return f"has index {run.index} and role {run.role!r}"
    if batches.ndim != 2 or batches.dtype.kind != "i" or rates.shape != (len(batches),) or rates.dtype.kind != "f":
        return f"has batches of shape {batches.shape} and learning rates of shape {rates.shape}"
    if batches.size and not (batches.min() >= -1 and batches.max() < pool):
        return f"names the examples {int(batches.min())} to {int(batches.max())} of a pool of {pool}"
    if not np.isfinite(rates).all() or (rates < 0).any():
        return "has a learning rate that is negative or not finite"
    if steps.ndim != 1 or steps.dtype.kind != "i" or (np.diff(steps) <= 0).any():
        return "has recorded steps that don't ascend"
    if len(steps) and not (steps[0] >= 0 and steps[-1] <= len(batches)):
        return f"records step {int(steps[-1])} of {len(batches)}"
    if set(run.metrics) != set(metrics):
        return f"has the metrics {', '.join(sorted(run.metrics))}, not {', '.join(sorted(metrics))}"
    for name, values in run.metrics.items():
        if values.shape != (len(steps), test) or values.dtype.kind != "f":
            return f"has {name} of shape {values.shape}, not {(len(steps), test)}"
    for name, values in run.derivatives.items():
        if values.shape != (len(steps), test) or values.dtype.kind != "f":
            return f"has derivatives ({name}) of shape {values.shape}, not {(len(steps), test)}"
    return ""
