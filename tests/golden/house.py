"""All that the golden tests know of gptfl's insides: when modules move, the imports here are what has to follow.

Everything else in this folder calls these functions, which take command lines or the paths of files and give plain
values. Where a command has no way to say what it would do, it is run up to the place where it would begin, and
stopped there: see ``_stopped_at``.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import typer

from gptfl.cli.main import app
from gptfl.core import Dynamics, Run, examples_fingerprint, run_fingerprint, silent
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.recording.recording import open_recording
from gptfl.report.comparison import to_dict
from gptfl.simulation.fitting import fit_or_load, simulator_key
from gptfl.store.features import read_features
from gptfl.store.outputs import check_plain_target
from gptfl.store.predictions import PredictionFile, read_predictions
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.run_files import read_run
from gptfl.store.simulators import read_simulator
from gptfl.studies.retraining import _read as read_trainings

WHERE = {
    "recording": "gptfl.recording.collect._execute",
    "fit": "gptfl.simulation.fit.fit_fresh",
    "predictions": "gptfl.api.simulate.write_predictions",
    "picture": "gptfl.report.simulation.save_figure",
    "table": "gptfl.api.compare.written",
    "version": "gptfl.simulation.fitting.installed_version",
    "executor": "gptfl.executors.Local.execute",
    "weights": "gptfl.studies.retraining.Retrainer.open",
    "trainings": "gptfl.studies.retraining.Retrainer.estimate",
}
"""Where a command is stopped, or led elsewhere."""
READERS = {
    read_dynamics: ("gptfl.recording.recording", "gptfl.recording.resume", __name__),
    read_simulator: ("gptfl.simulation.simulator", "gptfl.simulation.fitting", __name__),
}
"""Who reads recordings and simulators."""


class _Reached(Exception):
    """A command got to the place at which it was to be stopped; ``given`` are the arguments there."""

    def __init__(self, *given: Any) -> None:
        super().__init__("reached")
        self.given = given


def run(words: Sequence[str]) -> None:
    """Run a command line in this process; what it refuses is raised."""
    _root().main(args=list(words), prog_name="gptfl", standalone_mode=False)


@cache
def _root() -> Any:
    """The commands; to build them takes longer than to run one."""
    return typer.main.get_command(app)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within, each recording and simulator is read once for all commands, which is most of what they take.

    So none that was read may be changed.
    """
    with ExitStack() as patches:
        for reader, modules in READERS.items():
            once = cache(reader)
            for module in modules:
                patches.enter_context(patch(f"{module}.{reader.__name__}", once))
        yield


def _stopped_at(place: str, words: Sequence[str]) -> tuple[Any, ...]:
    """The arguments with which a command would call the function at a place; the call is not made."""

    def reached(*given: Any) -> None:
        raise _Reached(*given)

    with patch(WHERE[place], reached):  # of a method, the object is the first argument
        try:
            run(words)
        except _Reached as stop:
            return stop.given
    raise AssertionError(f"gptfl {' '.join(words)} never called {WHERE[place]}")


# --- Recordings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """What ``gptfl collect`` would record.

    ``settings`` is the JSON that it would keep, without what only the loaded model tells (``weights``, and
    ``tokenization`` where it is there); ``plans`` and ``reference`` are digests of the runs' batches, seeds and roles, and of those
    of the reference run; ``left`` are the indices of the runs that are not recorded yet, ``lacking`` whether gradients
    or sketches are. ``mark`` is what its checkpoints say that they are of.
    """

    settings: str
    examples: str
    plans: str
    reference: str | None
    mark: str | None
    left: list[int]
    lacking: bool


def planned(words: Sequence[str]) -> Planned:
    """What a ``collect`` command would do: no model is loaded, and nothing is written."""
    job = _stopped_at("recording", words)[0]
    recorded: Dynamics = job.dynamics(())
    reference = None if job.reference is None else _digest([job.reference.plan()])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "planned.h5"
        write_dynamics(path, recorded)
        settings = settings_json(path)
    return Planned(
        settings,
        recorded.examples,
        _digest(job.plans),
        reference,
        None if job.checkpoint_writer is None else job.checkpoint_writer.recording,
        [plan.index for plan in job.left()],
        job.lacks_gradients(),
    )


def _digest(plans: Sequence[Any]) -> str:
    """The same on every machine, whatever the types of the numbers."""
    digest = hashlib.sha256()
    for plan in plans:
        digest.update(f"{plan.index} {plan.seed} {plan.role} {plan.batches.shape} ".encode())
        digest.update(np.ascontiguousarray(plan.batches, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def interrupted(after: int) -> Iterator[None]:
    """Within, ``collect`` is interrupted after so many runs."""

    def execute(self: Any, make_trainer: Callable[[], Any], plans: Any, on_step: Any) -> Iterator[Run]:
        trainer = make_trainer()
        for place, plan in enumerate(plans):
            if place == after:
                raise KeyboardInterrupt
            yield trainer.run(plan, lambda done, total: None)

    with patch(WHERE["executor"], execute):
        yield


def settings_json(path: Path) -> str:
    """The settings of a file, byte for byte."""
    with h5py.File(path, "r") as file:
        return bytes(file["settings"][()]).decode()


def written_again(path: Path, target: Path) -> None:
    """Read a recording and write it to another path."""
    write_dynamics(target, read_dynamics(path))


def about_recording(path: Path) -> dict[str, Any]:
    """All that identifies a recording and its parts."""
    found = read_dynamics(path)
    return {
        "fingerprint": found.fingerprint,
        "examples": found.examples,
        "pool": examples_fingerprint(found.pool, ()),
        "test": examples_fingerprint((), found.test),
        "metrics": list(found.metrics),
        "runs": {f"{run.index} {run.seed} {run.role}": run_fingerprint(run) for run in found.runs},
        "gradients": None if found.gradients is None else found.gradients.fingerprint,
        "products": None if found.known_products is None else found.known_products.fingerprint,
        "sketches": None if found.sketches is None else _of_arrays(_sketches(found)),
    }


def _sketches(found: Dynamics) -> dict[str, np.ndarray]:
    """The sketches of a recording, read in whole."""
    sides = ("train", "test", "preconditioned", "split_train", "split_test")
    points = found.sketches.points if found.sketches is not None else ()
    arrays = {f"{point.step} {side}": getattr(point, side) for point in points for side in sides}
    return {name: array for name, array in arrays.items() if array is not None}


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of arrays as they are."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def about_run(path: Path) -> dict[str, Any]:
    """All that identifies a run that lies beside a recording."""
    found, header = read_run(path)
    return {"run": run_fingerprint(found), **header.inputs}


def ids(path: Path) -> tuple[list[str], list[str]]:
    """The ids of a recording's pool and test examples."""
    found = read_dynamics(path)
    return [example.id for example in found.pool], [example.id for example in found.test]


def recorded_scores(path: Path, run_index: int, metric: str) -> tuple[list[list[int]], list[int], np.ndarray]:
    """The batches of a recorded run, the steps that it was measured at, and one metric."""
    found = next(run for run in read_dynamics(path).runs if run.index == run_index)
    return found.curriculum.batches.tolist(), found.steps.tolist(), found.metrics[metric]


def first_scores(path: Path) -> dict[str, float] | None:
    """What was measured of a recording's pool before any training, and kept beside it."""
    recording = open_recording(path)
    metric = next(iter(recording.dynamics.metrics.values()))
    found = measure_initial_metrics(recording, metric, None, None, silent)
    if found is None:
        return None
    return {example.id: float(value) for example, value in zip(recording.dynamics.pool, found.values, strict=True)}


# --- Features and simulators ------------------------------------------------------------------------------------------


def about_features(path: Path) -> dict[str, Any]:
    """All that identifies features."""
    found = read_features(path)
    return {
        "encoder": found.encoder,
        "examples": found.examples,
        "fingerprint": found.fingerprint,
        "sets": {name: [one.kind, *one.train.shape, len(one.test)] for name, one in found.sets.items()},
    }


def about_simulator(path: Path) -> dict[str, Any]:
    """All that identifies a simulator."""
    found = read_simulator(path)
    return {
        "estimator": found.estimator,
        "key": found.key,
        "metric": found.metric.name,
        "dynamics": found.dynamics,
        "examples": found.examples,
        "features": found.features,
        "settings": settings_json(path),
        "state": _of_arrays(found.state),
    }


@dataclass(frozen=True)
class Refit:
    """What ``gptfl fit`` would fit: its ``key`` and ``path``, and whether the workspace holds that very fit already."""

    key: str
    path: str
    reused: bool


def refit(words: Sequence[str], versions: Mapping[str, str]) -> Refit:
    """What a ``fit`` command would fit, and whether ``compare`` would take it from the workspace instead.

    A key counts the version of what provides the estimator; ``versions`` are those to count.
    """
    named, recording, data = _stopped_at("fit", words)
    part = named.part
    provider = part.owner.split(" ")[0]
    if provider in versions and " " in part.owner:
        named = replace(named, part=replace(part, owner=f"{provider} {versions[provider]}"))
    with _counting(versions), patch.object(named.estimator, "fit", _must_not_fit):
        found = fit_or_load(named, recording, data)
    path = recording.workspace.simulator_path(recording.stem, part.name, data.metric.name, found.key)
    return Refit(found.key, str(path), found.reused)


def key_of_fit(words: Sequence[str]) -> str:
    """The key of what a ``fit`` command would fit, by the versions that are installed."""
    return str(simulator_key(*_stopped_at("fit", words)))


def _must_not_fit(data: Any) -> Any:
    raise AssertionError("it would be fitted anew")


@contextmanager
def _counting(versions: Mapping[str, str]) -> Iterator[None]:
    """Within, distributions have the versions that they had when the archive was made."""

    def of(name: str) -> str:
        return versions[name] if name in versions else version(name)

    with patch(WHERE["version"], of):
        yield


# --- What simulators answer -------------------------------------------------------------------------------------------


def predicted(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Where a ``simulate`` command would write its predictions, and what they are; no picture is drawn."""
    with patch(WHERE["picture"], lambda *given: None):
        target, found = _stopped_at("predictions", words)
    return str(target), _plain(found)


def stored_predictions(path: Path) -> dict[str, Any]:
    """What a predictions file holds."""
    return _plain(read_predictions(path))


def _plain(found: PredictionFile) -> dict[str, Any]:
    bounds = {
        f"{side} {level:g}": found.intervals[level][place]
        for level in found.intervals
        for place, side in enumerate(("low", "high"))
    }
    return {
        "about": [
            found.estimator,
            found.metric.name,
            list(found.labels),
            found.against,
            found.dynamics,
            found.simulator,
        ],
        "settings": {key: value for key, value in dict(found.settings).items() if key != "notes"},
        "notes": list(found.settings.get("notes", ())),
        "batches": found.batches,
        "learning_rates": found.learning_rates,
        "steps": found.steps,
        "values": found.values,
        "reference": found.reference,
        **bounds,
        **({} if found.novelty is None else {"novelty": found.novelty}),
    }


def compared(words: Sequence[str], versions: Mapping[str, str]) -> dict[str, Any]:
    """The table of a ``compare`` command, as its JSON has it; no picture is drawn."""
    with _counting(versions):
        return to_dict(_stopped_at("table", words)[0])


def kept_study(words: Sequence[str], weights: str) -> list[str]:
    """The keys of those trainings of a study that are not kept yet; no model is loaded, and nothing is trained."""

    def opened(self: Any) -> None:
        self.weights = weights
        self.done = read_trainings(self.path, [metric.info.name for metric in self.metrics])

    with patch(WHERE["weights"], opened):
        retrainer, trainings = _stopped_at("trainings", words)
    return [retrainer.key(training) for training in retrainer.left(trainings)]


def is_replaceable(path: Path) -> bool:
    """Whether gptfl takes a table, or a file of ids, for one that it wrote, which it may replace."""
    check_plain_target(path, "--output")
    return True


# --- The command line -------------------------------------------------------------------------------------------------


def options() -> dict[str, dict[str, Any]]:
    """Every command with its options: their flags, default, help and what else the reference page tells of them."""
    return {
        name: {
            parameter.name: {"type": _type(command.callback, parameter.name), **_option(parameter)}
            for parameter in command.params
            if parameter.name != "help"
        }
        for name, command in _root().commands.items()
    }


def _option(parameter: Any) -> dict[str, Any]:
    default = parameter.default
    shown = getattr(parameter, "show_default", None)
    known = {
        "flags": [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else [],
        "default": default if default is None or isinstance(default, bool | int | float | str | list) else str(default),
        "shown default": shown if isinstance(shown, str) else None,
        "required": bool(parameter.required),
        "multiple": bool(getattr(parameter, "multiple", False)),
        "metavar": parameter.metavar,
        "environment": parameter.envvar,
        "panel": getattr(parameter, "rich_help_panel", None),
        "help": parameter.help,
    }
    return {key: value for key, value in known.items() if value not in (None, False, [])} | {
        "default": known["default"]
    }


def _type(callback: Callable[..., None], name: str) -> str:
    """The type of an option, as the command's signature has it."""
    annotation = inspect.signature(callback).parameters[name].annotation
    kind = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("pathlib._local.", "pathlib.")
