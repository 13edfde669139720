"""All that the golden tests know of gptfl's insides, beside ``contents``: when modules move, these imports have to follow.

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

import numpy as np
import typer

from gptfl.cli.main import app
from gptfl.core import Dynamics, Run
from gptfl.report.comparison import to_dict
from gptfl.simulation.fitting import fit_or_load, simulator_key
from gptfl.store.outputs import check_plain_target
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.simulators import read_simulator
from gptfl.studies.retraining import read_results as read_trainings
from tests.golden.contents import (
    plain,
    settings_json,
)

WHERE = {
    "recording": "gptfl.recording.collect.execute_job",
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
    read_dynamics: ("gptfl.recording.recording", "gptfl.recording.resume", "tests.golden.contents"),
    read_simulator: ("gptfl.simulation.simulator", "gptfl.simulation.fitting", "tests.golden.contents"),
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
    return str(target), plain(found)


def compared(words: Sequence[str], versions: Mapping[str, str]) -> dict[str, Any]:
    """The table of a ``compare`` command, as its JSON has it; no picture is drawn."""
    with _counting(versions):
        return to_dict(_stopped_at("table", words)[0])


def kept_study(words: Sequence[str], weights: str) -> list[str]:
    """The keys of those trainings of a study that are not kept yet; no model is loaded, and nothing is trained."""

    def opened(self: Any) -> None:
        self.weights = weights
        self.done = read_trainings(self.path)

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
