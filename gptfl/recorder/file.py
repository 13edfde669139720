"""The recording that one's own runs are appended to: what it says of itself, and whether a run belongs to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptfl.core import Dynamics, Example, GradientSketches, MetricInfo, Run, role_of
from gptfl.core.recording_settings import OWN_RUN, RecordingSettings
from gptfl.errors import DataError, UsageError
from gptfl.interruption import uninterrupted
from gptfl.recorder.sketch_files import remove_points
from gptfl.store.recordings import (
    append_run,
    append_sketches,
    check_nothing_beside,
    merge_runs,
    read_dynamics,
    write_dynamics,
)
from gptfl.store.workspace import Workspace, safe_name

ANOTHER = "record under another name"


@dataclass(frozen=True, slots=True)
class Identity:
    """What all runs of one recording share."""

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metrics: Mapping[str, MetricInfo]
    every: int
    made_by: str
    model: str
    fingerprint: str | None

    def settings(self) -> dict[str, Any]:
        """The settings of a recording of such runs."""
        return {
            "task": OWN_RUN,
            "model": self.model,
            "pool": len(self.pool),
            "test": len(self.test),
            "record_every": self.every,
            "metrics": list(self.metrics),
            "texts": True,
            "made_by": self.made_by,
            "model_fingerprint": self.fingerprint,
        }


class RunFile:
    """Where one's own runs go: ``NAME.dynamics.h5`` in the workspace."""

    def __init__(self, name: str, workspace: str | Path | None) -> None:
        if name != safe_name(name):
            raise UsageError(
                f"the name {name!r} can't begin the names of files",
                f"take at most 80 letters, digits, dots, underscores and hyphens, such as {safe_name(name)!r}",
            )
        self.space = Workspace.resolve(workspace)
        self.name = name
        self.path = self.space.dynamics_path(name)

    @property
    def sketches_folder(self) -> Path:
        """Where the sketches of runs lie that aren't finished."""
        return self.path.with_name(f"{self.name}.sketches-so-far")

    def read(self, own: Identity) -> Dynamics | None:
        """The recording so far, None before the first run.

        Raises ``DataError`` where it isn't of such runs: another pool, test set, metric, interval or model.
        """
        if not self.path.exists():
            check_nothing_beside(self.path)
            return None
        found = read_dynamics(self.path)
        if not found.settings.own_run:
            raise DataError(f"{self.path} holds no runs of your own training, and none are added", ANOTHER)
        where = str(self.path)
        _same_examples(found.pool, own.pool, f"{where} was recorded with another pool", "pool")
        _same_examples(found.test, own.test, f"{where} was recorded with another test set", "test")
        recorded = {**found.settings}
        expected = own.settings()
        for key, flag in (("metrics", "metrics"), ("record_every", "every")):
            if recorded.get(key) != expected[key]:
                raise DataError(
                    f"{where} was recorded with {flag}={recorded.get(key)}, not {expected[key]}",
                    f"give {flag}={recorded.get(key)}, or {ANOTHER}",
                )
        was = recorded.get("model_fingerprint")
        if was is not None and own.fingerprint is not None and was != own.fingerprint:
            raise DataError(
                f"{where} was recorded from a model with the weights {was}, and this run starts from {own.fingerprint}",
                f"start from the same weights, or {ANOTHER}",
            )
        return found

    def append(self, own: Identity, run: Run, sketches: GradientSketches | None = None) -> Run:
        """Put a finished run on disk under the next index, and the sketches taken along it unless there are others.

        Raises as ``read``, ``ResourceError`` if it can't be written.
        """
        # A Ctrl-C of the training that is recorded comes before or after.
        with uninterrupted(), self.space.lock(own.made_by):
            found = self.read(own)
            index = 0 if found is None else max((one.index for one in found.runs), default=-1) + 1
            run = replace(run, index=index, role=role_of(index))
            if found is None:
                settings = RecordingSettings.of(own.settings())
                write_dynamics(self.path, Dynamics(own.pool, own.test, own.metrics, (run,), settings))
            else:
                append_run(self.path, run)
                merge_runs(self.path)
            there = found is not None and found.sketches is not None
            if sketches is not None and not there:
                append_sketches(self.path, sketches)
            if sketches is not None or there:
                remove_points(self.sketches_folder)  # a recording keeps those of one run
        return run


def _same_examples(recorded: Sequence[Example], given: Sequence[Example], problem: str, name: str) -> None:
    """Raise ``DataError`` unless these are the same examples in the same order."""
    remedy = f"give the {name} of the earlier runs, in their order, or {ANOTHER}"
    if len(recorded) != len(given):
        raise DataError(f"{problem}: {len(recorded)} examples, not {len(given)}", remedy)
    for was, one in zip(recorded, given, strict=True):
        if was.id != one.id:
            raise DataError(f"{problem}: {was.id!r} is there where this run has {one.id!r}", remedy)
        if was.digest != one.digest:
            raise DataError(f"{problem}: {was.id!r} has another text", remedy)
