"""Opens a recording, chooses its metric, and loads the texts that it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gptfl.core import Dynamics, Example, MetricInfo, user_path
from gptfl.core.holdout import HeldOutExamples
from gptfl.core.runs import measured, thinned
from gptfl.errors import DataError, UsageError
from gptfl.estimators.diverged import Divergence, diverged
from gptfl.plugins.registry import Registry, get_registry, suggest
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import FoundFile, Workspace, stem_of


@dataclass(frozen=True, slots=True)
class OpenedRecording:
    """A recording that was read, where its other files lie, and what was chosen on the way.

    ``held_out`` are the examples that fits to it don't see. ``keep_diverged`` keeps runs that diverged, which ``focused``
    leaves out otherwise. ``registry`` is where all that works on it finds its parts.
    """

    path: Path
    stem: str
    dynamics: Dynamics
    workspace: Workspace
    registry: Registry = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()
    every: int = 1
    held_out: HeldOutExamples | None = None
    keep_diverged: bool = False


def open_recording(
    dynamics: str | Path | None = None,
    workspace: str | Path | None = None,
    every: int = 1,
    keep_diverged: bool = False,
) -> OpenedRecording:
    """The recording at a path, else the one made last in the workspace.

    Args:
        dynamics: its file, None for the one made last.
        workspace: where to look for files that belong to it; where only a path is given, its folder.
        every: the checkpoint interval that ``focused`` goes by: one in so many recorded points counts.
        keep_diverged: whether ``focused`` keeps runs that diverged.

    Raises ``DataError`` where there is no recording, or it can't be read, and ``UsageError`` where ``every`` is less
    than 1.
    """
    if every < 1:
        raise UsageError(f"is {every}", "give at least 1", option="every")
    if dynamics is None:
        space = Workspace.resolve(workspace)
        latest = space.latest("dynamics")
        path, notes = latest.path, others_note(latest, "recording", "--dynamics")
    else:
        path, notes = user_path(dynamics), ()
        space = Workspace(path.parent) if workspace is None else Workspace.resolve(workspace)
    found = read_dynamics(path)
    return OpenedRecording(path, stem_of(path), found, space, get_registry(), notes, every, keep_diverged=keep_diverged)


def focused(recording: OpenedRecording, metric: MetricInfo) -> OpenedRecording:
    """The recording at the steps that count for one metric, without the runs that diverged.

    A run that diverged (``estimators.diverged``) would decide every mean over runs; a note names it.
    Steps at which it was measured on no test example are left out. Of the others the first, each ``every``-th
    after it and the last are kept (the paper's checkpoint interval). Raises ``UsageError`` where no run has so many.
    """
    bad = diverged(recording.dynamics.runs, recording.dynamics.metrics)
    lost = frozenset() if recording.keep_diverged else {one.index for one in bad}
    whole = tuple(measured(run, metric) for run in recording.dynamics.runs if run.index not in lost)
    most = max((len(run.steps) - 1 for run in whole), default=0)
    if recording.every > max(most, 1):
        raise UsageError(
            f"--every {recording.every}: no run has more than {most} recorded scores after its first",
            f"give at most {most}",
        )
    runs = tuple(thinned(run, recording.every) for run in whole)
    notes = (*recording.notes, *diverged_note(bad, recording.keep_diverged))
    return replace(recording, dynamics=replace(recording.dynamics, runs=runs), notes=notes)


def diverged_note(bad: Sequence[Divergence], kept: bool) -> tuple[str, ...]:
    """What to tell of runs that diverged; nothing where there are none."""
    if not bad:
        return ()
    shown = "; ".join(one.text for one in bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
    if kept:
        return (f"{shown}: kept, as --keep-diverged asks, so that means over runs say little",)
    return (f"{shown}: left out of fits, means and scores; --keep-diverged takes it in",)


def choose_metric(dynamics: Dynamics, name: str | None = None) -> tuple[MetricInfo, tuple[str, ...]]:
    """The named metric, else the only one, else the loss.

    Raises ``DataError`` for one that was not recorded, or where none of this is evident.
    """
    known = dynamics.metrics
    if name is not None:
        if name not in known:
            raise DataError(f"the recording has no metric {name!r}", suggest(name, known))
        return known[name], ()
    if len(known) == 1:
        return next(iter(known.values())), ()
    if "loss" in known:
        others = ", ".join(sorted(known.keys() - {"loss"}))
        return known["loss"], (f"took the metric loss; also recorded: {others} (--metric)",)
    listed = ", ".join(sorted(known))
    raise DataError(f"the recording has the metrics {listed or 'none'}", "choose one with --metric")


def others_note(latest: FoundFile, noun: str, flag: str) -> tuple[str, ...]:
    """What to tell where there was more than one file to take; nothing where there was one."""
    if not latest.others:
        return ()
    others = ", ".join(path.name for path in latest.others[:5]) + (", ..." if len(latest.others) > 5 else "")
    return (f"took {latest.path.name}, the {noun} made last; choose another with {flag} (also there: {others})",)


def with_texts(recording: OpenedRecording, data: str | Path | None) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Pool and test examples of a recording, with their texts.

    Where the recording keeps no texts, its task is loaded again with its settings, from ``data`` if
    given. Raises ``DataError`` if that gives other examples than those recorded, ``UsageError`` for
    ``data`` where the recording keeps its texts.
    """
    dynamics, path = recording.dynamics, recording.path
    if all(example.text for example in (*dynamics.pool, *dynamics.test)):
        if data is not None:
            raise UsageError(f"--data {data} is not needed: {path} keeps its texts", "leave out --data")
        return dynamics.pool, dynamics.test
    settings = dynamics.settings
    missing = [name for name in ("task", "pool", "test", "seed") if name not in settings]
    if missing:
        raise DataError(
            f"{path} keeps no texts and does not say where they came from (no {missing[0]!r})",
            "make a recording that keeps its texts",
        )
    from gptfl.tasks.mixture import ExampleSource  # with all tasks, for recordings that keep no texts

    examples = ExampleSource.of_settings(recording.registry, settings, None if data is None else user_path(data))
    loaded = examples.load(settings.pool, settings.test, settings.seed)
    where = data or settings.data or settings.task
    _same(dynamics.pool, loaded.pool, f"pool example of {path} and of {where}")
    _same(dynamics.test, loaded.test, f"test example of {path} and of {where}")
    return loaded.pool, loaded.test


def _same(recorded: Sequence[Example], loaded: Sequence[Example], what: str) -> None:
    for old, new in zip(recorded, loaded, strict=False):
        if (old.id, old.digest) != (new.id, new.digest):
            raise DataError(
                f"{what} differ: recorded {old.id!r} ({old.digest}), loaded {new.id!r} ({new.digest})",
                "pass --data with the very files that were recorded",
            )
    if len(recorded) != len(loaded):
        raise DataError(
            f"{what} are not as many: recorded {len(recorded)}, loaded {len(loaded)}",
            "pass --data with the very files that were recorded",
        )
