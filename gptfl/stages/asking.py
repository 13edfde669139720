"""Opens a simulator together with the recording that it was fitted to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptfl.errors import DataError, PluginError, UsageError
from gptfl.records import MetricInfo, Prediction, Query
from gptfl.registry import get_registry
from gptfl.stages.fitting import Contender
from gptfl.stages.selection import Pool
from gptfl.stages.sources import Recording, focused, open_recording, picked_note
from gptfl.store.simulators import SimulatorFile, read_simulator
from gptfl.store.workspace import Workspace, stem_of


@dataclass(frozen=True, slots=True)
class Source:
    """The simulator, restored, and the recording that it was fitted to."""

    recording: Recording
    path: Path
    found: SimulatorFile
    contender: Contender
    pool: Pool
    notes: tuple[str, ...]

    @property
    def metric(self) -> MetricInfo:
        """The metric that it predicts."""
        return self.found.metric

    def output(self, key: str) -> Path:
        """Where its predictions lie unless told otherwise; ``key`` tells questions apart."""
        return self.recording.workspace.predictions_path(
            self.recording.stem, self.found.estimator, self.metric.name, key
        )

    def ask(self, query: Query) -> Prediction:
        """What the simulator answers. Raises ``PluginError`` where that has the wrong shape or isn't finite."""
        who = f"estimator {self.contender.part.name!r} of {self.contender.part.owner}"
        expected = (len(query.first), len(query.steps), query.first.shape[1])
        with self.contender.part.blamed("predict"):
            prediction = self.contender.estimator.predict(query)
            values = np.asarray(prediction.values)
        if values.shape != expected:
            raise PluginError(f"{who} predicted values of shape {values.shape}, not {expected}", "it needs mending")
        if not np.isfinite(values).all():
            raise PluginError(f"{who} predicted values that are not finite", "other settings may help")
        return prediction


def open_source(
    simulator: str | Path | None,
    dynamics: str | Path | None,
    workspace: str | Path | None,
    estimator: str | None,
    metric: str | None,
) -> Source:
    """The simulator at a path, else the one made last that fits; the recording at a path, else its own.

    Raises ``DataError`` where a file is missing or damaged, or the two don't belong together, and
    ``UsageError`` where a file named is of another estimator or metric than was asked for.
    """
    notes: tuple[str, ...] = ()
    if simulator is not None:
        path = Path(simulator).expanduser()
        space = Workspace(path.parent) if workspace is None else Workspace.resolve(workspace)
    else:
        known = None if dynamics is None else Path(dynamics).expanduser()
        space = Workspace(known.parent) if known and workspace is None else Workspace.resolve(workspace)
        wanted = {name: value for name, value in (("estimator", estimator), ("metric", metric)) if value is not None}
        picked = space.pick("simulator", None if known is None else stem_of(known), **wanted)
        path, notes = picked.path, picked_note(picked, "simulator", "--simulator")
    found = read_simulator(path)
    for flag, wish, has in (("--estimator", estimator, found.estimator), ("--metric", metric, found.metric.name)):
        if wish is not None and wish != has:
            raise UsageError(f"{path} is a simulator of {has}, not {wish}", f"leave out {flag}, or choose another file")
    if dynamics is None:
        dynamics = space.dynamics_path(stem_of(path))
        if not dynamics.exists():
            raise DataError(f"the recording that {path} was fitted to is not at {dynamics}", "name it with --dynamics")
    every = found.info.get("every", 1)
    if type(every) is not int or every < 1:
        raise DataError(f"{path} is damaged: it was fitted to every {every!r}-th score", "run gptfl fit again")
    recording = open_recording(dynamics, space.root, every)
    if found.examples != recording.dynamics.examples:
        raise DataError(f"{path} was fitted to other examples than {recording.path} holds", "choose with --dynamics")
    if found.metric.name in recording.dynamics.metrics:
        recording = focused(recording, found.metric)
    if found.dynamics != recording.dynamics.fingerprint:
        raise DataError(f"{recording.path} has changed since {path} was fitted to it", "run gptfl fit again")
    return Source(recording, path, found, _restored(found, path), Pool(recording.dynamics.pool), notes)


def _restored(found: SimulatorFile, path: Path) -> Contender:
    registry = get_registry()
    part = registry.find("estimator", found.estimator)
    contender = Contender(part, registry.make("estimator", found.estimator, **found.settings))
    with contender.part.blamed(f"restore from {path}"):
        return Contender(part, contender.estimator.restore(found.state))
