"""Recordings: the examples, and a group for each run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from gptfl.core import (
    Dynamics,
    GradientProducts,
    GradientSketches,
    MetricInfo,
    RecordingSettings,
    Run,
    examples_fingerprint,
    real_path,
)
from gptfl.core.recording_settings import wrong_setting
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.store import files, hdf5
from gptfl.store.examples import get_examples, metric_from_json, metric_to_json, put_examples
from gptfl.store.files import Header
from gptfl.store.gradients import get_gradients, put_gradients
from gptfl.store.jsonlines import shown
from gptfl.store.kinds import DYNAMICS
from gptfl.store.large_files import LargeFile, amend_large, create_large
from gptfl.store.run_files import check_own, delete_runs, identity, pending, read_beside, run_files, write_run
from gptfl.store.runs import check_run, get_run, put_run
from gptfl.store.safety import MAX_BYTES
from gptfl.store.sketches import are_large, get_sketches, put_sketches
from gptfl.store.workspace import runs_folder

_LARGE = ("runs", "gradients", "sketches")
"""Groups that grow, and that a run is appended without a look into."""


def write_dynamics(path: Path, dynamics: Dynamics) -> None:
    """Write a recording, with any number of runs; gradient products and sketches that come in blocks are never all in
    memory.

    Raises ``DataError`` if a run does not fit its examples or others lie beside the path, ``ResourceError`` if it
    can't be written.
    """
    _check_settings(dynamics.settings, path)
    for run in dynamics.runs:
        check_run(run, len(dynamics.pool), len(dynamics.test), dynamics.metrics, str(path))
    check_nothing_beside(path)
    about: dict[str, Any] = {"settings": dynamics.settings, "inputs": {"examples": dynamics.examples}}
    gradients, sketches, counts = dynamics.gradients, dynamics.sketches, (len(dynamics.pool), len(dynamics.test))
    if (gradients is not None and gradients.in_blocks) or (sketches is not None and are_large(sketches, *counts)):
        with create_large(path, DYNAMICS, **about, max_bytes=MAX_BYTES) as large:
            with uninterrupted():
                _put(large.file, dynamics)
            if sketches is not None:
                put_sketches(large.file, sketches, *counts, large)
            if gradients is not None:
                put_gradients(large.file, gradients, *counts, large)
        return
    with files.create(path, DYNAMICS, **about) as file:
        _put(file, dynamics)
        if sketches is not None:
            put_sketches(file, sketches, *counts)
        if gradients is not None:
            put_gradients(file, gradients, *counts)


def _put(file: h5py.File, dynamics: Dynamics) -> None:
    """Keep all of a recording but what is taken of gradients."""
    hdf5.put_text(file, "metrics", [metric_to_json(metric) for metric in dynamics.metrics.values()])
    group = file.create_group("examples")
    put_examples(group, "pool", dynamics.pool)
    put_examples(group, "test", dynamics.test)
    hdf5.put_number(group, "pool", len(dynamics.pool))
    hdf5.put_number(group, "test", len(dynamics.test))
    runs = file.create_group("runs")
    for run in dynamics.runs:
        put_run(runs, run)


def _check_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Raise ``DataError`` where a setting that gptfl reads again is of the wrong type, or of an absurd size."""
    wrong = wrong_setting(settings)
    if wrong is not None:
        raise DataError(
            f"{path} has the setting {wrong} = {shown(settings[wrong])}", "record it again with gptfl collect"
        )


def check_nothing_beside(path: Path) -> None:
    """Raise ``DataError`` where runs lie beside a path that is to become a new recording: they are of another one."""
    if run_files(path):
        raise DataError(
            f"{runs_folder(path)} holds runs of another recording at {path}",
            "put that recording back and go on with gptfl collect, or delete the folder",
        )


def append_run(path: Path, run: Run) -> None:
    """Add one run to a recording, in a file of its own beside it (see ``run_files``); ``merge_runs`` puts it in.

    What that takes doesn't grow with the recording. Raises ``DataError`` if its index is there already or it doesn't
    fit, ``ResourceError`` if it can't be written.
    """
    with files.open_file(path, DYNAMICS, skipped=_LARGE) as file:
        about = _about(file)
        if hdf5.holds(file, "runs", run.name):
            raise DataError(f"{path} has {run.name} already", "record under another index")
    check_run(run, *about.counts, about.metrics, str(path))
    write_run(path, run, str(about.header.inputs.get("examples")), identity(about.header))


def append_gradients(path: Path, gradients: GradientProducts) -> None:
    """Add gradient products to a recording; those that come in blocks are never all in memory.

    Raises ``DataError`` if it has some or they don't fit.
    """
    if gradients.in_blocks:
        with _amended_large(path) as (large, about):
            put_gradients(large.file, gradients, *about.counts, large)
        return
    with _amended(path) as (file, about):
        put_gradients(file, gradients, *about.counts)


def append_sketches(path: Path, sketches: GradientSketches) -> None:
    """Add gradient sketches to a recording; many that lie in files are never all in memory.

    Raises ``DataError`` if it has some or they don't fit.
    """
    with files.open_file(path, DYNAMICS, skipped=_LARGE) as file:
        counts = _about(file).counts
    if are_large(sketches, *counts):
        with _amended_large(path) as (large, about):
            put_sketches(large.file, sketches, *about.counts, large)
        return
    with _amended(path) as (file, about):
        put_sketches(file, sketches, *about.counts)


def merge_runs(path: Path) -> None:
    """Put the runs that lie beside a recording into it, all at once; only then they are deleted.

    A process that is killed meanwhile leaves both or one of them, and loses nothing. Raises ``DataError`` for a run
    that is damaged, another recording's or doesn't fit, ``ResourceError`` if the recording can't be written.
    """
    beside = run_files(path)
    if beside:
        with files.open_file(path, DYNAMICS, skipped=_LARGE) as file:
            whole = all(hdf5.holds(file, "runs", name) for name in beside)
            of = identity(files.header_of(file))
        if not whole:
            with _amended(path):
                pass
            return
        check_own(beside.values(), path, of)
    delete_runs(path, beside.values())


def read_dynamics(path: Path) -> Dynamics:
    """Read a recording, its runs in order of index; gradient sketches are read when they are asked for.

    Runs that lie beside it are among them. Raises ``DataError``.
    """
    # First what lies beside: what is merged meanwhile is then in the recording.
    beside = list(read_beside(run_files(path)))
    with files.open_file(path, DYNAMICS) as file:
        about = _about(file)
        header, metrics = about.header, about.metrics
        _check_settings(header.settings, path)
        group = hdf5.get_group(file, "examples")
        pool, test = (
            get_examples(group, side, count) for side, count in zip(("pool", "test"), about.counts, strict=True)
        )
        if header.inputs.get("examples") != examples_fingerprint(pool, test):
            raise DataError(f"{path} is damaged: its examples were changed", "record it again with gptfl collect")
        group = hdf5.get_group(file, "runs")
        runs = [get_run(hdf5.get_group(group, name)) for name in hdf5.names_in(group)]
        gradients = get_gradients(file, len(pool), len(test))
        sketches = get_sketches(file, len(pool), len(test))
        for run in runs:
            check_run(run, len(pool), len(test), metrics, str(path))
        held = [run.name for run in runs]
        runs += pending(beside, held, path, identity(header), (len(pool), len(test)), metrics)
        runs.sort(key=lambda run: run.index)
        if len({run.index for run in runs}) < len(runs):
            raise DataError(f"{path} holds two runs of one index", "record it again with gptfl collect")
    return Dynamics(pool, test, metrics, tuple(runs), RecordingSettings.of(header.settings), gradients, sketches)


def recorded_settings(path: Path) -> RecordingSettings:
    """The settings of a recording, of which nothing else is read. Raises ``DataError``."""
    with files.open_file(path, DYNAMICS, skipped=_LARGE) as file:
        settings = _about(file).header.settings
    _check_settings(settings, path)
    return RecordingSettings.of(settings)


@dataclass(frozen=True, slots=True)
class _About:
    """What a recording says of itself: all that a run must fit."""

    header: Header
    counts: tuple[int, int]
    metrics: dict[str, MetricInfo]


def _about(file: h5py.File) -> _About:
    examples = hdf5.get_group(file, "examples")
    counts = hdf5.get_int(examples, "pool"), hdf5.get_int(examples, "test")
    return _About(files.header_of(file), counts, _get_metrics(file))


@contextmanager
def _amended(path: Path) -> Iterator[tuple[h5py.File, _About]]:
    """A recording to be changed, into which the runs beside it were merged; they are deleted once it is on disk."""
    # What a link leads to is replaced, and the link stays.
    path = real_path(path) if path.is_symlink() else path
    beside = run_files(path)
    with files.amend(path, DYNAMICS) as file:
        yield file, _merged(file, path, beside)
    delete_runs(path, beside.values())


@contextmanager
def _amended_large(path: Path) -> Iterator[tuple[LargeFile, _About]]:
    """The same, of which only what changes is in memory."""
    path = real_path(path) if path.is_symlink() else path
    beside = run_files(path)
    with amend_large(path, DYNAMICS, MAX_BYTES) as large:
        with uninterrupted():
            about = _merged(large.file, path, beside)
        yield large, about
    delete_runs(path, beside.values())


def _merged(file: h5py.File, path: Path, beside: Mapping[str, Path]) -> _About:
    """What a recording that is open to be changed says of itself, once the runs that lie beside it are in it."""
    about = _about(file)
    runs, of = hdf5.get_group(file, "runs"), identity(about.header)
    check_own(beside.values(), path, of)
    missing = read_beside({name: one for name, one in beside.items() if name not in runs})
    for run in pending(missing, (), path, of, about.counts, about.metrics):
        put_run(runs, run)
    return about


def _get_metrics(file: h5py.File) -> dict[str, MetricInfo]:
    rows: Any = hdf5.get_text(file, "metrics")
    where = f"{hdf5.path_of(file)}: /metrics"
    if not isinstance(rows, list):
        raise DataError(f"{where} is no list", "make the file again")
    metrics = [metric_from_json(row, where) for row in rows]
    return {metric.name: metric for metric in metrics}
