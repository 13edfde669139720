"""Recordings: the examples, and a group for each run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gptfl.errors import DataError
from gptfl.records import (
    FIT,
    REPEAT,
    TEST,
    VALIDATION,
    Curriculum,
    Dynamics,
    GradientProducts,
    GradientSketches,
    MetricInfo,
    Run,
    examples_fingerprint,
)
from gptfl.store import fields, files
from gptfl.store.examples import get_examples, metric_from_json, metric_to_json, put_examples
from gptfl.store.gradients import get_gradients, put_gradients
from gptfl.store.kinds import DYNAMICS
from gptfl.store.recorded_sketches import get_sketches, put_sketches

ROLES = (FIT, VALIDATION, TEST, REPEAT)
COUNTS = ("pool", "test", "subset_size", "batch_size", "steps", "record_every")
"""Settings that, where they are there, are whole numbers of at least 1."""
WORDS = ("task", "model", "schedule", "design")
"""Settings that, where they are there, are texts."""


def write_dynamics(path: Path, dynamics: Dynamics) -> None:
    """Write a recording, with any number of runs.

    Raises ``DataError`` if a run does not fit its examples, ``ResourceError`` if it can't be written.
    """
    _check_settings(dynamics.settings, path)
    for run in dynamics.runs:
        check_run(run, len(dynamics.pool), len(dynamics.test), dynamics.metrics, str(path))
    inputs = {"examples": dynamics.examples}
    with files.create(path, DYNAMICS, settings=dynamics.settings, inputs=inputs) as file:
        fields.put_text(file, "metrics", [metric_to_json(metric) for metric in dynamics.metrics.values()])
        group = file.create_group("examples")
        put_examples(group, "pool", dynamics.pool)
        put_examples(group, "test", dynamics.test)
        fields.put_number(group, "pool", len(dynamics.pool))
        fields.put_number(group, "test", len(dynamics.test))
        runs = file.create_group("runs")
        for run in dynamics.runs:
            _put_run(runs, run)
        if dynamics.gradients is not None:
            put_gradients(file, dynamics.gradients, len(dynamics.pool), len(dynamics.test))
        if dynamics.sketches is not None:
            put_sketches(file, dynamics.sketches, len(dynamics.pool), len(dynamics.test))


def append_run(path: Path, run: Run) -> None:
    """Add one run to a recording. Raises ``DataError`` if its index is there already or it doesn't fit."""
    with files.amend(path, DYNAMICS) as file:
        examples = fields.get_group(file, "examples")
        counts = fields.get_int(examples, "pool"), fields.get_int(examples, "test")
        check_run(run, *counts, _get_metrics(file), str(path))
        _put_run(fields.get_group(file, "runs"), run)


def append_gradients(path: Path, gradients: GradientProducts) -> None:
    """Add gradient products to a recording. Raises ``DataError`` if it has some or they don't fit."""
    with files.amend(path, DYNAMICS) as file:
        examples = fields.get_group(file, "examples")
        put_gradients(file, gradients, fields.get_int(examples, "pool"), fields.get_int(examples, "test"))


def append_sketches(path: Path, sketches: GradientSketches) -> None:
    """Add gradient sketches to a recording. Raises ``DataError`` if it has some or they don't fit."""
    with files.amend(path, DYNAMICS) as file:
        examples = fields.get_group(file, "examples")
        put_sketches(file, sketches, fields.get_int(examples, "pool"), fields.get_int(examples, "test"))


def read_dynamics(path: Path) -> Dynamics:
    """Read a recording, its runs in order of index; gradient sketches are read when they are asked for.

    Raises ``DataError``.
    """
    with files.open_file(path, DYNAMICS) as file:
        header = files.header_of(file)
        _check_settings(header.settings, path)
        group = fields.get_group(file, "examples")
        pool, test = get_examples(group, "pool"), get_examples(group, "test")
        if header.inputs.get("examples") != examples_fingerprint(pool, test):
            raise DataError(f"{path} is damaged: its examples were changed", "record it again with gptfl collect")
        metrics = _get_metrics(file)
        group = fields.get_group(file, "runs")
        runs = [_get_run(fields.get_group(group, name)) for name in fields.names_in(group)]
        gradients = get_gradients(file, len(pool), len(test))
        sketches = get_sketches(file, len(pool), len(test))
    for run in runs:
        check_run(run, len(pool), len(test), metrics, str(path))
    runs.sort(key=lambda run: run.index)
    if len({run.index for run in runs}) < len(runs):
        raise DataError(f"{path} holds two runs of one index", "record it again with gptfl collect")
    return Dynamics(pool, test, metrics, tuple(runs), header.settings, gradients, sketches)


def check_run(run: Run, pool: int, test: int, metrics: Mapping[str, MetricInfo], where: str) -> None:
    """Raise ``DataError`` unless a run fits a recording of ``pool`` and ``test`` examples and these metrics."""
    problem = _problem_with(run, pool, test, metrics)
    if problem:
        raise DataError(f"{where}: {run.name} {problem}", "record it again with gptfl collect")


def _check_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Raise ``DataError`` where a setting that gptfl reads again is of the wrong type."""
    wrong = [key for key in COUNTS if key in settings and (type(settings[key]) is not int or settings[key] < 1)]
    wrong += [key for key in WORDS if key in settings and not isinstance(settings[key], str)]
    if type(settings.get("seed", 0)) is not int or not 0 <= settings.get("seed", 0) < 2**63:
        wrong.append("seed")
    if not isinstance(settings.get("data"), str | None):
        wrong.append("data")
    if wrong:
        shown = repr(settings[wrong[0]])[:50]
        raise DataError(f"{path} has the setting {wrong[0]} = {shown}", "record it again with gptfl collect")


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


def _put_run(runs: h5py.Group, run: Run) -> None:
    if run.name in runs:
        raise DataError(f"{fields.path_of(runs)} has {run.name} already", "record under another index")
    group = runs.create_group(run.name)
    fields.put_number(group, "index", run.index)
    fields.put_number(group, "seed", run.seed)
    fields.put_word(group, "role", run.role)
    fields.put_seconds(group, run.seconds)
    fields.put_array(group, "batches", run.curriculum.batches)
    fields.put_array(group, "learning_rates", run.curriculum.learning_rates)
    fields.put_array(group, "steps", run.steps)
    metrics = group.create_group("metrics")
    for name, values in run.metrics.items():
        fields.put_array(metrics, name, values)
    if run.derivatives:
        derivatives = group.create_group("derivatives")
        for name, values in run.derivatives.items():
            fields.put_array(derivatives, name, values)


def _get_run(group: h5py.Group) -> Run:
    metrics = fields.get_group(group, "metrics")
    derivatives = fields.get_group(group, "derivatives") if "derivatives" in group else {}
    return Run(
        index=fields.get_int(group, "index"),
        seed=fields.get_int(group, "seed"),
        role=fields.get_word(group, "role"),
        curriculum=Curriculum(
            fields.get_array(group, "batches", 2, "i"), fields.get_array(group, "learning_rates", 1, "f")
        ),
        steps=fields.get_array(group, "steps", 1, "i"),
        metrics={name: fields.get_array(metrics, name, 2, "f") for name in fields.names_in(metrics)},
        derivatives={name: fields.get_array(derivatives, name, 2, "f") for name in fields.names_in(derivatives)},
        seconds=fields.get_seconds(group),
    )


def _get_metrics(file: h5py.File) -> dict[str, MetricInfo]:
    rows: Any = fields.get_text(file, "metrics")
    where = f"{fields.path_of(file)}: /metrics"
    if not isinstance(rows, list):
        raise DataError(f"{where} is no list", "make the file again")
    metrics = [metric_from_json(row, where) for row in rows]
    return {metric.name: metric for metric in metrics}
