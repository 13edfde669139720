"""Runs that lie beside their recording, a file each, until they are merged into it.

``run-0007.h5`` in the folder ``NAME.dynamics.h5.runs`` is a run of ``NAME.dynamics.h5``: to keep it costs the same
however many there are. A run that the recording holds, too, counts there. Whoever reads first lists the folder and
then opens the recording, so that what is merged meanwhile is in one of them.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from gptfl.core import MetricInfo, Run, fingerprint
from gptfl.errors import DataError, GptflError
from gptfl.store import files, hdf5
from gptfl.store.durable import cannot_write, made, sync_folder
from gptfl.store.files import Header
from gptfl.store.kinds import RUN
from gptfl.store.packed_runs import get_packed_run, holds_packed_run, put_packed_run
from gptfl.store.runs import check_run, get_run
from gptfl.store.safety import MAX_BYTES, Together
from gptfl.store.workspace import runs_folder

MAX_FILES = 100_000
REMEDY = "delete that file, and gptfl collect records the run again"
_NAME = re.compile(r"run-(\d{4}|[1-9]\d{4,18})\.h5", re.ASCII)


@dataclass(frozen=True, slots=True)
class Beside:
    """A run beside a recording: what it is a run of (see ``identity``), or why it can't be read."""

    path: Path
    recording: str = ""
    run: Run | None = None
    problem: GptflError | None = None


def identity(header: Header) -> str:
    """What tells a recording from others: its examples and settings."""
    return fingerprint(header.inputs.get("examples"), header.settings)


def run_files(recording: Path) -> dict[str, Path]:
    """The files of the runs beside a recording by the runs' names.

    Raises ``DataError`` where the folder can't be read or holds too many.
    """
    folder = runs_folder(recording)
    found: dict[str, Path] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    found[entry.name.removesuffix(".h5")] = folder / entry.name
                if len(found) > MAX_FILES:
                    raise DataError(f"{folder} holds more than {MAX_FILES:,} runs", "gptfl writes no folder that large")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}", "mend its permissions") from error
    return dict(sorted(found.items()))


def write_run(recording: Path, run: Run, examples: str, of: str) -> None:
    """Keep a run in a file beside a recording.

    Args:
        recording: path of the recording.
        run: the run.
        examples: fingerprint of the examples that it is of.
        of: what identifies the recording.

    Raises ``DataError`` if it is there already, ``ResourceError`` if it can't be written.
    """
    folder = runs_folder(recording)
    path = folder / f"{run.name}.h5"
    try:
        with made(folder):
            if path.exists():
                raise DataError(f"{folder} has {run.name} already", "record under another index")
            with files.create(path, RUN, settings={}, inputs={"examples": examples, "recording": of}) as file:
                put_packed_run(file, run)
        # The folder, too, has to last through a power cut.
        sync_folder(folder.parent)
    except OSError as error:
        raise cannot_write(folder, error) from error


def read_run(path: Path, together: Together | None = None) -> tuple[Run, Header]:
    """A run that lies beside a recording, and what its file says of itself; it is counted in ``together``.

    Raises ``DataError``.
    """
    with files.open_file(path, RUN, together=together) as file:
        run, header = _run_in(file, path), files.header_of(file)
    return _checked(run, path), header


def _run_in(file: h5py.File, path: Path) -> Run:
    if holds_packed_run(file):
        return get_packed_run(file)
    # As the first version of the format has it.
    runs = hdf5.get_group(file, "runs")
    names = hdf5.names_in(runs)
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} runs, not one", REMEDY)
    return get_run(hdf5.get_group(runs, names[0]))


def _checked(run: Run, path: Path) -> Run:
    # How many examples there are only the recording tells.
    widths = [values.shape[1] for values in run.metrics.values()]
    metrics = {metric: MetricInfo(metric, higher_is_better=False) for metric in run.metrics}
    check_run(run, sys.maxsize, widths[0] if widths else 0, metrics, str(path), REMEDY)
    return run


def read_beside(paths: Mapping[str, Path]) -> Iterator[Beside]:
    """The runs in these files, by the runs' names, one after the other; those that are merged meanwhile are left out.

    Raises ``DataError`` where there is too much, or more than files of such sizes hold.
    """
    size = 0
    together: Together | None = None
    for name, path in paths.items():
        together = together or Together(path.parent)
        together.begin()
        try:
            # Of a thousand files, what else each says of itself would take a fifth of the time.
            with files.open_file(path, RUN, together=together) as file:
                run, inputs = _run_in(file, path), files.inputs_of(file)
            _checked(run, path)
        except GptflError as error:
            together.check()
            if path.exists():
                yield Beside(path, problem=_advised(error))
            continue
        together.check()
        size += sum(array.nbytes for array in _arrays(run))
        if size > MAX_BYTES:
            raise DataError(
                f"{path.parent} holds more than {MAX_BYTES / 2**30:g} GiB unpacked",
                "gptfl reads no recording that large: record fewer runs, steps or test examples",
            )
        wrong = None if run.name == name else DataError(f"{path} holds {run.name}", REMEDY)
        yield Beside(path, str(inputs.get("recording")), run, wrong)


def pending(
    beside: Iterable[Beside],
    held: Iterable[str],
    recording: Path,
    of: str,
    counts: tuple[int, int],
    metrics: Mapping[str, MetricInfo],
) -> Iterator[Run]:
    """Those of the runs beside a recording that it doesn't hold itself.

    Args:
        beside: the files beside it.
        held: names of the runs that it holds.
        recording: its path.
        of: what identifies it.
        counts: how many training and test examples it has.
        metrics: those that it records.

    Raises ``DataError`` for one that is damaged or doesn't fit, and for any that is another recording's.
    """
    known = set(held)
    for one in beside:
        if one.problem is None and one.recording != of:
            raise _foreign(one.path, recording)
        if one.path.stem in known:
            continue
        if one.problem is not None:
            raise one.problem
        assert one.run is not None  # where there is no problem
        check_run(one.run, *counts, metrics, str(one.path), REMEDY)
        yield one.run


def check_own(paths: Iterable[Path], recording: Path, of: str) -> None:
    """Raise ``DataError`` for the file of a run that says that it belongs to another recording, as ``read_beside``."""
    together = Together(runs_folder(recording))
    for path in paths:
        together.begin()
        try:
            with files.open_file(path, None, together=together) as file:
                theirs = files.inputs_of(file).get("recording")
        except GptflError:  # what can't be read is nobody's
            theirs = of
        together.check()
        if theirs != of:
            raise _foreign(path, recording)


def delete_runs(recording: Path, paths: Iterable[Path]) -> None:
    """Delete files of runs that the recording holds, and the folder once it is empty."""
    # What can't be deleted can stay: the recording counts.
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        runs_folder(recording).rmdir()


def _foreign(path: Path, recording: Path) -> DataError:
    return DataError(
        f"{path} is a run of another recording than {recording}",
        f"move {path.parent} away, or put the recording back that it belongs to",
    )


def _advised(error: GptflError) -> GptflError:
    """What a damaged file calls for is another thing than where it is a whole recording."""
    return DataError(error.problem, REMEDY) if type(error) is DataError and "upgrade" not in error.remedy else error


def _arrays(run: Run) -> tuple[np.ndarray, ...]:
    curriculum = run.curriculum
    kept = (*run.metrics.values(), *run.derivatives.values())
    return curriculum.batches, curriculum.learning_rates, run.steps, *kept
