"""What travels between an executor and the processes that work for it: plain settings and arrays, never objects.

A job is one ``Work``, which all of its processes begin from, and any number of ``Unit``, each a run or a block of
examples. What a unit comes to is an ``Outcome``. A unit is carried out as a whole, as often as it takes: the same unit
has the same outcome wherever and whenever that is, so that one that was lost with its process is given to another.
"""

import importlib
import io
import json
import struct
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from gptfl import errors
from gptfl.core import Run
from gptfl.errors import GptflError, PluginError, is_memory_full
from gptfl.plugins.interfaces import Plan, Trainer

KINDS: Mapping[str, str] = {
    "runs": "gptfl.recording.run_worker",
    "sketches": "gptfl.recording.run_worker",
    "check": "gptfl.testing.executors",
}
"""By the kind of work, the module whose ``open_work`` begins it. No other name is ever imported."""
SMALLER = "see what else runs there, or ask for less at a time (--accumulate, --train-layers)"
OnStep = Callable[[int, int, int], None]
"""Called with a unit's index, the steps done and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all units of one job share.

    ``settings`` are JSON-able and belong to the ``kind``. ``device`` is ``cpu``, ``cuda`` or one of its devices.
    ``folder`` holds the files of the model where they lie in a folder here: a process that doesn't see it needs a copy,
    whose place then takes its place. ``threads`` is how many threads a process computes with, None for what it has.
    """

    kind: str
    settings: Mapping[str, Any]
    device: str = "cpu"
    folder: str | None = None
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of_json(cls, known: Mapping[str, Any]) -> Self:
        """From what ``to_json`` gave."""
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work: its number among those of the job, what it is by JSON-able ``settings``, and its arrays."""

    index: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As bytes: for a file, a pipe or a message."""
        return pack({"index": self.index, "settings": dict(self.settings)}, self.arrays)

    @classmethod
    def of_bytes(cls, packed: bytes) -> Self:
        """From what ``to_bytes`` gave."""
        known, arrays = unpack(packed)
        return cls(known["index"], known["settings"], arrays)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the unit of this ``index`` came to; ``failure`` says of one that is in vain what was wrong.

    It has the name of an ``error`` of ``gptfl.errors``, its ``problem`` and its ``remedy``, or the ``trace`` of a fault.
    """

    index: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    failure: Mapping[str, str] | None = None

    def to_bytes(self) -> bytes:
        """As bytes: for a file, a pipe or a message."""
        known = {"index": self.index, "settings": dict(self.settings), "failure": self.failure}
        return pack(known, self.arrays)

    @classmethod
    def of_bytes(cls, packed: bytes) -> Self:
        """From what ``to_bytes`` gave."""
        known, arrays = unpack(packed)
        return cls(known["index"], known["settings"], arrays, known["failure"])

    def check(self) -> None:
        """Raise what the unit failed of, if it did: the ``GptflError`` that it was, or ``RuntimeError`` for a fault."""
        if self.failure is None:
            return
        if "trace" in self.failure:
            raise RuntimeError(f"unit {self.index}: {self.failure['trace']}")
        raise getattr(errors, self.failure["error"])(self.failure["problem"], self.failure["remedy"])


def pack(known: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """JSON-able values and arrays as bytes: the length of the JSON, the JSON, an .npz without pickles."""
    head = json.dumps(known, allow_nan=False).encode()
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, **{f"a{number}": array for number, array in enumerate(arrays.values())})
    names = json.dumps(list(arrays)).encode()
    return struct.pack(">QQ", len(head), len(names)) + head + names + body.getvalue()


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What ``pack`` made bytes of, to the bit."""
    head, names = struct.unpack(">QQ", packed[:16])
    known = json.loads(packed[16 : 16 + head])
    called = json.loads(packed[16 + head : 16 + head + names])
    with np.load(io.BytesIO(packed[16 + head + names :]), allow_pickle=False) as body:
        return known, {name: body[f"a{number}"] for number, name in enumerate(called)}


class Begun(Protocol):
    """What ``open_work`` of a kind's module gives: it carries out units, one after another."""

    def __call__(self, unit: Unit, on_step: Callable[[int, int], None]) -> Outcome:
        """Carry out one unit."""
        ...


_BEGUN: list[tuple[Work, Begun]] = []
"""What this process began last, and of which work: a model is loaded once for many units."""


def carry_out(work: Work, unit: Unit, on_step: Callable[[int, int], None]) -> Outcome:
    """Carry out one unit in this process. It raises nothing that the unit is to blame for: see ``Outcome.failure``.

    Args:
        work: what the unit is of; the first unit of a work loads what it takes, such as the model.
        unit: the unit.
        on_step: called with the steps done and how many there are.
    """
    try:
        if not _BEGUN or _BEGUN[0][0] != work:
            _BEGUN.clear()  # before the next model is loaded
            _BEGUN.append((work, importlib.import_module(KINDS[work.kind]).open_work(work)))
        return _BEGUN[0][1](unit, on_step)
    except Exception as error:
        return Outcome(unit.index, failure=failure_of(error))


def failure_of(error: Exception) -> dict[str, str]:
    """What ``Outcome.failure`` says of an exception."""
    if isinstance(error, GptflError):
        kind = next(base.__name__ for base in type(error).__mro__ if base.__module__ == errors.__name__)
        return {"error": kind, "problem": error.problem, "remedy": error.remedy}
    if is_memory_full(error):
        first = str(error).strip().split("\n")[0] or type(error).__name__
        return {"error": "ResourceError", "problem": f"memory is full: {first}", "remedy": SMALLER}
    return {"trace": traceback.format_exc()}


@runtime_checkable
class DescribesWork(Protocol):
    """What a maker of trainers also offers where its trainer can be made elsewhere from plain values."""

    def __call__(self) -> Trainer:
        """The trainer of this process."""
        ...

    def work(self) -> Work:
        """What the runs of this trainer share."""
        ...

    def unit(self, plan: Plan) -> Unit:
        """The unit that a plan is."""
        ...

    def run(self, outcome: Outcome) -> Run:
        """The run that a unit came to. Raises what it failed of."""
        ...


Perform = Callable[[Work, Iterable[Unit], OnStep], Iterator[Outcome]]
"""How an executor carries out units: see ``PerformsUnits`` of ``gptfl.plugins.optional``."""


def runs_by_units(
    perform: Perform, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: OnStep
) -> Iterator[Run]:
    """What an executor's ``execute`` yields whose own way is ``perform``: each plan's run when it is done.

    Args:
        perform: carries out units.
        make_trainer: as ``execute`` gets it.
        plans: the runs to carry out.
        on_step: called with a plan's index, the steps done and how many there are.

    Raises ``PluginError`` for a maker that can't be described by plain values.
    """
    if not isinstance(make_trainer, DescribesWork):
        raise PluginError(
            f"{type(make_trainer).__name__} makes a trainer that can't be made in another process",
            "use --executor local",
        )
    for outcome in perform(make_trainer.work(), (make_trainer.unit(plan) for plan in plans), on_step):
        yield make_trainer.run(outcome)


class Tally:
    """How many steps are done of several units, which may be under way at once and begin again."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}
        self._sum = 0

    def add(self, index: int, done: int) -> int:
        """Note that so many steps of a unit are done; how many of all are."""
        self._sum += done - self._done.get(index, 0)
        self._done[index] = done
        return self._sum
