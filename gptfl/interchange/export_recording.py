"""Writes a recording in the layout of the released GPTDynamics files, or as tables for other tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.core import Dynamics, Progress, real_path, silent, user_path
from gptfl.core.display import Listed
from gptfl.core.texts import ID_RULE, counted, id_problem, written_id
from gptfl.errors import UsageError
from gptfl.interchange.assemble import listed
from gptfl.interchange.gptdynamics_writer import folder_names, write_run, write_texts
from gptfl.interchange.texts import TEST_TEXTS, TRAIN_TEXTS
from gptfl.options.base import make
from gptfl.options.interchange import ExportOptions
from gptfl.options.signature import takes
from gptfl.recording.recording import OpenedRecording, open_recording
from gptfl.store.exports import check_folder, new_folder
from gptfl.store.outputs import written_whole

RELEASED = "gptdynamics"
TABLES = {"parquet": ".parquet", "csv": ".csv"}
FORMATS = (RELEASED, *TABLES)


@dataclass(frozen=True, slots=True)
class ExportResult(Listed):
    """Where the export lies, in which format, and what is in it; ``notes`` tell what it leaves out."""

    path: Path
    format: str
    runs: int
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


@takes(ExportOptions)
def export(to: str | Path, *, progress: Progress = silent, **options: Any) -> ExportResult:
    """Write a recording to the folder ``to``, whole or not at all: where the export lies and what is in it.

    An earlier export of that name is replaced. The ``format`` ``gptdynamics``, the default, is the layout that ``gptfl
    import`` takes back; ``parquet`` and ``csv`` are the tables ``trajectories``, ``batches`` and ``examples``. Where
    ``to`` ends in ``.parquet`` or ``.csv``, it is a file, that format, and holds the trajectories alone.
    ``options`` are those of ``gptfl export`` (docs/cli.md) by name.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for an unknown format or one that the suffix
    contradicts, ``DataError`` where there is no recording or something else would be overwritten, and ``ResourceError``
    where nothing can be written.
    """
    return export_with(make(ExportOptions, to=to, **options), progress=progress)


def export_with(options: ExportOptions, *, progress: Progress = silent) -> ExportResult:
    """``export`` with all options in one object."""
    target = user_path(options.to)
    if not target.name or target.name == "..":
        target = real_path(target)
    chosen, is_file = _chosen(target, options.format)
    _check(target, is_file)
    recording = open_recording(options.dynamics, options.workspace)
    found = recording.dynamics
    if chosen == RELEASED:
        files = _released(target, recording, progress)
    elif is_file:
        files = _trajectories(target, found, chosen, progress)
    else:
        files = _tables(target, recording, chosen, progress)
    return ExportResult(
        target,
        chosen,
        len(found.runs),
        files,
        (*recording.notes, *_left_out(found, chosen, target if is_file else None)),
    )


def _chosen(target: Path, format: str | None) -> tuple[str, bool]:
    """The format, and whether the target is one file."""
    if format is not None and format not in FORMATS:
        raise UsageError(f"{format!r} is unknown", f"use {', '.join(FORMATS)}", option="format")
    by_suffix = {suffix: kind for kind, suffix in TABLES.items()}.get(target.suffix)
    if by_suffix is None:
        return format or RELEASED, False
    if format not in (None, by_suffix):
        raise UsageError(f"--to {target} is no name for --format {format}", f"leave out the {target.suffix}")
    return by_suffix, True


def _check(target: Path, is_file: bool) -> None:
    if not is_file:
        check_folder(target)
        return
    from gptfl.interchange.tables import check_table

    check_table(target)


def _released(target: Path, recording: OpenedRecording, progress: Progress) -> tuple[str, ...]:
    dynamics = recording.dynamics
    names = folder_names(dynamics)
    with new_folder(target, _about(recording, RELEASED)) as folder:
        for done, (name, run) in enumerate(zip(names, dynamics.runs, strict=True)):
            progress("export", done, len(names), name)
            write_run(folder / name, run, dynamics, not dynamics.settings.lacks_rates)
        progress("export", len(names), len(names))
        if not _has_texts(dynamics):
            return (f"{counted(len(names), 'folder')} of runs",)
        write_texts(folder / TRAIN_TEXTS, dynamics.pool)
        write_texts(folder / TEST_TEXTS, dynamics.test)
    return f"{counted(len(names), 'folder')} of runs", TRAIN_TEXTS, TEST_TEXTS


def _trajectories(target: Path, dynamics: Dynamics, kind: str, progress: Progress) -> tuple[str, ...]:
    from gptfl.interchange.tables import write_trajectories

    with written_whole(target) as path:
        write_trajectories(path, dynamics, kind, lambda done: progress("export", done, len(dynamics.runs)))
    return (target.name,)


def _tables(target: Path, recording: OpenedRecording, kind: str, progress: Progress) -> tuple[str, ...]:
    from gptfl.interchange import tables

    dynamics, suffix = recording.dynamics, TABLES[kind]
    files = tuple(f"{name}{suffix}" for name in ("trajectories", "batches", "examples"))
    with new_folder(target, _about(recording, kind)) as folder:
        paths = [folder / name for name in files]
        tables.write_trajectories(paths[0], dynamics, kind, lambda done: progress("export", done, len(dynamics.runs)))
        tables.write_batches(paths[1], dynamics, kind, not dynamics.settings.lacks_rates)
        tables.write_examples(paths[2], dynamics, kind)
    return files


def _about(recording: OpenedRecording, kind: str) -> dict[str, str]:
    return {"format": kind, "recording": recording.path.name, "fingerprint": recording.dynamics.fingerprint}


def _has_texts(dynamics: Dynamics) -> bool:
    return all(example.text for example in (*dynamics.pool, *dynamics.test))


def _left_out(dynamics: Dynamics, kind: str, file: Path | None) -> list[str]:
    notes = []
    if file is not None:
        notes.append(f"{file.name} holds the trajectories; name a folder to have batches and examples, too")
    elif not _has_texts(dynamics):
        where = (
            "no files of texts were written, which gptfl import needs" if kind == RELEASED else "only ids and classes"
        )
        notes.append(f"the recording keeps no texts: {where}")
    indices = [run.index for run in dynamics.runs]
    if kind == RELEASED and indices != list(range(len(indices))):
        notes.append("runs are missing between others: gptfl import numbers them anew, which changes roles")
    refused = [one.id for one in (*dynamics.pool, *dynamics.test) if id_problem(one.id)]
    if kind == RELEASED and refused:
        notes.append(
            f"{counted(len(refused), 'id')} that gptfl import refuses: {listed(map(written_id, refused))}; {ID_RULE}"
        )
    if kind == RELEASED and dynamics.settings.lacks_rates:
        notes.append("the learning rates are not known, and are not written")
    if dynamics.gradients is not None or any(run.derivatives for run in dynamics.runs):
        notes.append("gradients have no place in this format and are left out")
    return notes
