"""Opens a simulator together with the recording that it was fitted to."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Features, MetricInfo, Prediction, Progress, Query, silent, user_path
from gptfl.core.holdout import TEST, TRAIN
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.features.lookup import fitted_features
from gptfl.plugins.guards import checked
from gptfl.plugins.registry import Registry
from gptfl.recording.recording import OpenedRecording, focused, open_recording, others_note
from gptfl.simulation.given_again import give_again
from gptfl.simulation.requirements import NamedEstimator, refusal
from gptfl.simulation.schedule import first_scores
from gptfl.simulation.unseen import Scope, holdout_from_json, scope_of
from gptfl.store.id_files import ExampleIndex, pool_index
from gptfl.store.simulators import SimulatorFile, read_simulator
from gptfl.store.workspace import FoundFile, Workspace, stem_of

if TYPE_CHECKING:
    from gptfl.recording.new_examples import NewExamples


@dataclass(frozen=True, slots=True)
class FittedSimulator:
    """The simulator, restored, and the recording that it was fitted to.

    Questions are about the examples of ``scope``: the recording's, some of which may have been set aside from the
    fit, and those of ``new``, which the recording lacks; ``pool`` has the ids of those to train on.
    """

    recording: OpenedRecording
    path: Path
    found: SimulatorFile
    named: NamedEstimator
    pool: ExampleIndex
    notes: tuple[str, ...]
    scope: Scope
    new: "NewExamples | None" = None
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out for one question and holds for the next."""

    @property
    def metric(self) -> MetricInfo:
        """The metric that it predicts."""
        return self.found.metric

    @property
    def world(self) -> Dynamics:
        """The recording, with the examples that questions are about in the place of its own."""
        return replace(self.recording.dynamics, pool=self.scope.pool, test=self.scope.test)

    def first(self, step: int) -> Float[np.ndarray, " test"]:
        """What every test example starts from at a step (see ``first_scores``)."""
        recorded = first_scores(self.recording.dynamics, self.metric, step)
        return recorded if self.new is None else np.concatenate([recorded, self.new.first])

    def marks(self) -> tuple[str, ...]:
        """For each test example, that it is ``unseen`` (set aside from the fit) or ``new``; nothing for the others."""
        recorded = len(self.recording.dynamics.test)
        seen = self.scope.test_seen
        return tuple("" if seen[i] >= 0 else "unseen" if i < recorded else "new" for i in range(len(seen)))

    def output(self, key: str) -> Path:
        """Where its predictions lie unless given; ``key`` tells questions apart."""
        return self.recording.workspace.predictions_path(
            self.recording.stem, self.found.estimator, self.metric.name, key
        )

    def predict(self, query: Query) -> Prediction:
        """What the simulator answers about the examples of its scope.

        Raises ``PluginError`` as ``checked`` does.
        """
        query = self.scope.about(query)
        return checked(self.named.estimator.predict(query), query, self.named.part.who)


def check_fits(path: Path, found: SimulatorFile, estimator: str | None, metric: str | None) -> None:
    """Refuse a simulator of another estimator or metric than is wanted.

    Args:
        path: where it lies, for the message.
        found: what the file holds.
        estimator: its name as given, None for any.
        metric: its name as given, None for any.

    Raises ``UsageError``.
    """
    for flag, requested, has in (("--estimator", estimator, found.estimator), ("--metric", metric, found.metric.name)):
        if requested is not None and requested != has:
            raise UsageError(
                f"{path} is a simulator of {has}, not {requested}", f"leave out {flag}, or choose another file"
            )


def open_fitted(
    simulator: str | Path | None,
    dynamics: str | Path | None,
    workspace: str | Path | None,
    estimator: str | None,
    metric: str | None,
    features: str | Path | None = None,
    read: dict[tuple[object, ...], OpenedRecording] | None = None,
) -> FittedSimulator:
    """The simulator at a path, else the one made last that fits; the recording at a path, else the simulator's own.

    Without either it is the recording made last, and a simulator that was fitted to it.

    Args:
        simulator: its file, None for the one made last.
        dynamics: the recording's file, None for the one that the simulator was fitted to.
        workspace: where to look, None for the folder of a file that is named, else the usual one.
        estimator: that the simulator must be of, None for any.
        metric: that it must predict, None for any.
        features: the file of those that it was fitted on, by default in the workspace; they are looked for only where
            examples were set aside from the fit.
        read: the recordings that were read before; it gets this one, so that none is read or fingerprinted twice.

    Raises ``DataError`` where a file is missing or damaged, or the two don't belong together, and
    ``UsageError`` where a file named is of another estimator or metric than was asked for.
    """
    path, space, notes = _placed(simulator, dynamics, workspace, estimator, metric)
    found = read_simulator(path)
    check_fits(path, found, estimator, metric)
    if dynamics is None:
        dynamics = space.dynamics_path(stem_of(path))
        if not dynamics.exists():
            raise DataError(f"the recording that {path} was fitted to is not at {dynamics}", "name it with --dynamics")
    recording = _recording_of(found, path, user_path(dynamics), space, {} if read is None else read)
    recording = replace(recording, held_out=holdout_from_json(found.info.get("unseen"), recording.dynamics, str(path)))
    named = _restored(found, path, recording.registry)
    give_again(named.estimator, recording, found, features)
    return FittedSimulator(
        recording,
        path,
        found,
        named,
        pool_index(recording.dynamics.pool, recording.dynamics.test),
        (*notes, *fit_notes(found)),
        _scope(recording, found, named, features),
    )


def _recording_of(
    found: SimulatorFile, path: Path, dynamics: Path, space: Workspace, read: dict[tuple[object, ...], OpenedRecording]
) -> OpenedRecording:
    """What the simulator at a path was fitted to of the recording at ``dynamics``: its metric, at the steps it learned from.

    ``read`` is as in ``open_fitted``. Raises ``DataError`` where the simulator was fitted to something else.
    """
    every = found.info.get("every", 1)
    if type(every) is not int or every < 1:
        raise DataError(f"{path} is damaged: it was fitted to every {every!r}-th score", "run gptfl fit again")
    # A simulator of before runs that diverged were left out was fitted to them, too.
    kept = found.info.get("kept_diverged", True) is not False
    if (dynamics,) not in read:
        read[dynamics,] = open_recording(dynamics, space.root)
    recording = replace(read[dynamics,], workspace=space, every=every, keep_diverged=kept)
    if found.examples != recording.dynamics.examples:
        raise DataError(f"{path} was fitted to other examples than {recording.path} holds", "choose with --dynamics")
    if found.metric.name not in recording.dynamics.metrics:
        raise DataError(
            f"{path} predicts {found.metric.name}, which {recording.path} doesn't hold", "run gptfl fit again"
        )
    seen = dynamics, space.root, every, kept, found.metric.name
    if seen not in read:
        read[seen] = focused(recording, found.metric)
    if found.dynamics != read[seen].dynamics.fingerprint:
        raise DataError(f"{read[seen].path} has changed since {path} was fitted to it", "run gptfl fit again")
    return read[seen]


def _placed(
    simulator: str | Path | None,
    dynamics: str | Path | None,
    workspace: str | Path | None,
    estimator: str | None,
    metric: str | None,
) -> tuple[Path, Workspace, tuple[str, ...]]:
    """Where the simulator lies, the workspace to look for the rest in, and what to know of what was chosen."""
    if simulator is not None:
        path = user_path(simulator)
        return path, Workspace(path.parent) if workspace is None else Workspace.resolve(workspace), ()
    notes: tuple[str, ...] = ()
    known = None if dynamics is None else user_path(dynamics)
    space = Workspace(known.parent) if known and workspace is None else Workspace.resolve(workspace)
    filters = {name: value for name, value in (("estimator", estimator), ("metric", metric)) if value is not None}
    if known is None and space.candidates("dynamics"):
        # Every command takes the same recording where none is named.
        recorded = space.latest("dynamics")
        known, notes = recorded.path, others_note(recorded, "recording", "--dynamics")
    chosen = _fitted_to(known, space, filters)
    return chosen.path, space, (*notes, *others_note(chosen, "simulator", "--simulator"))


def in_memory(
    recording: OpenedRecording,
    path: Path,
    found: SimulatorFile,
    named: NamedEstimator,
    features: Features | None,
) -> FittedSimulator:
    """A simulator that was fitted just now, as ``open_fitted`` would give it once it is at ``path``.

    Args:
        recording: that it was fitted to.
        path: where it is to lie.
        found: what its file will hold.
        named: the fitted estimator and its name.
        features: of the whole recording, None where it was fitted without.
    """
    scope = scope_of(recording.dynamics, recording.held_out, named.estimator, features)
    pool = pool_index(recording.dynamics.pool, recording.dynamics.test)
    return FittedSimulator(recording, path, found, named, pool, fit_notes(found), scope)


def fit_notes(found: SimulatorFile) -> tuple[str, ...]:
    """What was told when the simulator was fitted: what it left out holds for what it answers."""
    notes = found.info.get("notes", ())
    return tuple(str(note) for note in notes) if isinstance(notes, list | tuple) else ()


def _fitted_to(recording: Path | None, space: Workspace, filters: dict[str, str]) -> FoundFile:
    """The simulator of a recording that was made last.

    Raises ``DataError`` where it has none, naming other recordings that do.
    """
    stem = None if recording is None else stem_of(recording)
    others = dict.fromkeys(stem_of(path) for path in space.candidates("simulator", **filters))
    if stem is None or not others or stem in others:
        return space.latest("simulator", stem, **filters)
    listed = ", ".join(str(space.dynamics_path(other)) for other in others)
    conditions = "".join(f" --{name} {value}" for name, value in filters.items())
    raise DataError(
        f"no such simulator was fitted to {recording}",
        f"run gptfl fit{conditions} first, or choose with --dynamics a recording that has one ({listed})",
    )


def _scope(
    recording: OpenedRecording,
    found: SimulatorFile,
    named: NamedEstimator,
    features: str | Path | None,
    new: bool = False,
) -> Scope:
    """What the simulator knows of its recording, with the features where there are examples that it wasn't fitted to."""
    scope = scope_of(recording.dynamics, recording.held_out, named.estimator, None)
    problem = refusal(named.estimator, scope.sides)
    if problem is not None:
        raise problem
    if found.features is None or not (scope.sides or new):
        return scope
    known = fitted_features(recording, found, named.estimator.tags.blind, features)
    return scope_of(recording.dynamics, recording.held_out, named.estimator, known)


def with_new_examples(
    source: FittedSimulator,
    new: "NewExamples",
    features: str | Path | None,
    model: str | None,
    progress: Progress = silent,
) -> FittedSimulator:
    """The same simulator, for questions about examples beside those of the recording.

    Args:
        source: the simulator.
        new: training and test examples; first scores that test examples lack are measured.
        features: the file of the recording's vectors, None for the one in the workspace.
        model: name or folder of the untrained model that first scores are measured with.
        progress: called along the way.

    Raises ``DataError`` where the estimator can't answer about such examples, where a first score is missing and no
    model
    given, and where vectors or first scores can't be made as the recording's were.
    """
    estimator = source.named.estimator
    sides = tuple(side for side, some in ((TRAIN, new.pool), (TEST, new.test)) if some)
    problem = refusal(estimator, sides)
    if problem is not None:
        raise problem
    if new.test and "derivatives" in estimator.tags.requires:
        raise DataError(
            f"{estimator.name} looks along the recorded runs, which didn't measure new test examples",
            "leave out --new-test, or use another estimator",
        )
    from gptfl.features.extend import beside  # with all that reads examples, for which few ask
    from gptfl.recording.new_weights import weighed_new

    new = _with_first(source, new, model, progress)
    pool, notes = weighed_new(new.pool, source.recording, model, progress)
    new = replace(new, pool=pool)
    whole = _scope(source.recording, source.found, source.named, features, new=True)
    scope = Scope(
        (*whole.pool, *new.pool),
        (*whole.test, *new.test),
        np.append(whole.pool_seen, np.full(len(new.pool), -1)),
        np.append(whole.test_seen, np.full(len(new.test), -1)),
        None
        if whole.features is None
        else beside(whole.features, new.pool, new.test, source.recording, progress, model),
    )
    return replace(
        source, pool=pool_index(scope.pool, scope.test), scope=scope, new=new, memo={}, notes=(*source.notes, *notes)
    )


def _with_first(source: FittedSimulator, new: "NewExamples", model: str | None, progress: Progress) -> "NewExamples":
    missing = np.flatnonzero(np.isnan(new.first))
    if len(missing) == 0:
        return new
    if model is None:
        raise DataError(
            f"new test example {new.test[missing[0]].id!r} has no first {source.metric.name}",
            "give it in the field 'first' of its line, or measure it with --model",
        )
    start = min(int(run.steps[0]) for run in source.recording.dynamics.runs)
    if start > 0:
        raise DataError(
            f"--model {model} measures at step 0, and the recording begins at step {start}",
            "give first scores of that step in the field 'first' of each line",
        )
    first = new.first.copy()
    lacking = [new.test[place] for place in missing]
    from gptfl.recording.trainers import measure_first

    first[missing] = measure_first(model, lacking, source.recording, source.metric, progress)
    return replace(new, first=first)


def _restored(found: SimulatorFile, path: Path, registry: Registry) -> NamedEstimator:
    part = registry.find("estimator", found.estimator)
    named = NamedEstimator(part, registry.make("estimator", found.estimator, **found.settings))
    try:
        return NamedEstimator(part, named.estimator.restore(found.state))
    except PluginError as error:
        raise PluginError(f"{path}: {error.problem}", error.remedy) from error
