"""Registered parts: who provides them, and the guard around those of plugins, so that a fault names its provider."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptfl.core import TaskData
from gptfl.errors import GptflError, PluginError
from gptfl.plugins import interfaces
from gptfl.plugins.interfaces import Observation

OWN = "gptfl"
MENDING = "the plugin needs mending"
KINDS: Mapping[str, type] = {
    "task": interfaces.Task,
    "encoder": interfaces.Encoder,
    "metric": interfaces.Metric,
    "estimator": interfaces.Estimator,
    "executor": interfaces.Executor,
}
OPTIONAL: Mapping[str, Sequence[str]] = {
    "task": ("sizes",),
    "encoder": ("use_recording", "encode_new"),
    "estimator": (
        *("influence", "self_influence", "influence_of", "influence_on_target", "influence_of_groups"),
        *("outlook_on_target", "linear_form", "flops", "mean_influence", "use_vectors", "use_products"),
        *("presentation_form", "replacement_form"),
    ),
    "executor": ("perform",),
}
"""Methods that a part of a kind may have besides those of its interface."""
ATTRIBUTES: Mapping[str, Sequence[str]] = {
    "task": ("generated",),
    "encoder": ("progress", "notes", "seconds"),
    "estimator": ("notes_",),
    "executor": ("workers",),
}
"""Attributes that a part of a kind may have. Any call may set them, so they are read each time."""
_ABSENT = object()
_READ_EACH_TIME = frozenset(name for names in ATTRIBUTES.values() for name in names)


@dataclass(frozen=True, slots=True)
class Part:
    """A registered name: its kind, who provides it, and the factory that makes it."""

    kind: str
    name: str
    owner: str
    factory: Callable[..., Any]

    @property
    def who(self) -> str:
        """How messages call it when its provider is at fault."""
        return f"{self.kind} {self.name!r} of {self.owner}"

    @contextlib.contextmanager
    def blamed(self, doing: str) -> Iterator[None]:
        """Report an exception of a plugin under the plugin's name; gptfl's own are bugs and pass.

        ``doing`` is the method at work. Raises ``PluginError``.
        """
        try:
            yield
        except GptflError:
            raise
        except Exception as error:
            if self.owner == OWN:
                raise
            raise PluginError(f"{self.who} raised {type(error).__name__} in {doing}: {error}", MENDING) from error


def interface_members(kind: str) -> list[str]:
    """The names that an object of this kind must have."""
    protocol = KINDS[kind]
    annotated = list(getattr(protocol, "__annotations__", {}))
    return annotated + [name for name in vars(protocol) if callable(getattr(protocol, name)) and name[0] != "_"]


def guarded(part: Part, made: Any) -> Any:
    """The part as gptfl uses it: a plugin's behind a guard, gptfl's own as it is."""
    return made if part.owner == OWN else Guarded(part, made)


class Guarded:
    """A plugin's part, each of whose methods and attributes names the plugin where it raises.

    It counts as an instance of the part's class and of every protocol that the part fulfils. Of a method's answer,
    what the interface promises of its type is held against it; where it is a part of the same kind (as of ``fit``), it
    is guarded, too. An executor may send a guarded part to another process, which a factory need not survive.
    """

    def __init__(self, part: Part, made: Any) -> None:
        part = Part(part.kind, part.name, part.owner, type(made))
        # Past the own __setattr__, which sets what the part has.
        vars(self).update(_part=part, _made=made)
        # Where a protocol looks for them; what may change meanwhile is looked up each time.
        for name in (*interface_members(part.kind), *OPTIONAL.get(part.kind, ())):
            if hasattr(self, name):
                vars(self)[name] = getattr(self, name)
        self._mark()

    def _mark(self) -> None:
        """Let ``isinstance`` see the optional attributes that the part has by now.

        From Python 3.12 on, a protocol looks for the names that an object holds itself, without asking for the values.
        """
        for name in ATTRIBUTES.get(self._part.kind, ()):
            if inspect.getattr_static(self._made, name, _ABSENT) is not _ABSENT:
                vars(self)[name] = None

    def __getattribute__(self, name: str) -> Any:
        # What _mark put there is no value.
        return self.__getattr__(name) if name in _READ_EACH_TIME else object.__getattribute__(self, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(vars(self)["_made"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        part, made = vars(self)["_part"], vars(self)["_made"]
        try:
            with part.blamed(name):
                value = getattr(made, name)
        except PluginError as error:
            if isinstance(error.__cause__, AttributeError) and name not in vars(self):
                raise AttributeError(name) from error  # it has none
            raise
        return self._guarded(name, value) if callable(value) else self._answer(name, (), value)

    def __setattr__(self, name: str, value: Any) -> None:
        with self._part.blamed(name):
            setattr(self._made, name, value)
        self._mark()

    def __repr__(self) -> str:
        return f"<guarded {self._part.who}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Guarded, (self._part, self._made)

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            with self._part.blamed(name):
                answer = method(*given, **named)
            self._mark()
            return self._answer(name, given, answer)

        def generate(*given: Any, **named: Any) -> Iterator[Any]:
            with self._part.blamed(name):
                yield from method(*given, **named)

        return generate if name in ("execute", "perform") else call

    def _answer(self, name: str, given: tuple[Any, ...], answer: Any) -> Any:
        """What a method answered, or an attribute is, in the type that the interface promises."""
        part = self._part
        if answer is self._made:
            return self
        if isinstance(answer, KINDS[part.kind]):
            return Guarded(part, answer)
        read = ANSWERS.get((part.kind, name))
        if read is None:
            return answer
        with part.blamed(name):
            return read(part, answer, *given)


def _loaded(part: Part, answer: Any, *given: Any) -> TaskData:
    if not isinstance(answer, TaskData):
        raise PluginError(f"{part.who}: load returned {type(answer).__name__}, not TaskData", MENDING)
    return answer


def _measured(part: Part, answer: Any, observation: Observation) -> np.ndarray:
    values = np.asarray(answer, dtype=np.float64)
    expected = (len(observation.examples),)
    if values.shape != expected:
        raise PluginError(f"{part.who} measured values of shape {values.shape}, not {expected}", MENDING)
    return values


def _no_estimator(name: str) -> Callable[..., Any]:
    def refuse(part: Part, answer: Any, *given: Any) -> Any:
        raise PluginError(f"{part.who}: {name} returned {type(answer).__name__}, not the fitted estimator", MENDING)

    return refuse


def _sizes(part: Part, answer: Any, *given: Any) -> tuple[int, int] | None:
    if answer is None:
        return None
    pool, test = answer
    return int(pool), int(test)


def _mapping(part: Part, answer: Any, *given: Any) -> dict[str, Any]:
    return dict(answer)


def _numbers(part: Part, answer: Any, *given: Any) -> np.ndarray:
    return np.asarray(answer, dtype=np.float64)


def _lines(part: Part, answer: Any, *given: Any) -> tuple[str, ...]:
    return tuple(str(line) for line in answer)


ANSWERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("task", "load"): _loaded,
    ("task", "generated"): lambda part, answer: bool(answer),
    ("task", "sizes"): _sizes,
    ("metric", "measure"): _measured,
    ("metric", "needs"): lambda part, answer: frozenset(answer),
    ("encoder", "identity"): _mapping,
    ("encoder", "encode_new"): lambda part, answer, *given: {name: np.asarray(rows) for name, rows in answer.items()},
    ("encoder", "notes"): _lines,
    ("encoder", "seconds"): lambda part, answer: None if answer is None else float(answer),
    ("estimator", "settings"): _mapping,
    ("estimator", "state"): _mapping,
    ("estimator", "fit"): _no_estimator("fit"),
    ("estimator", "restore"): _no_estimator("restore"),
    ("estimator", "influence"): _numbers,
    ("estimator", "mean_influence"): _numbers,
    ("estimator", "self_influence"): _numbers,
    ("estimator", "flops"): lambda part, answer, *given: float(answer),
    ("estimator", "notes_"): _lines,
    ("executor", "workers"): lambda part, answer: None if answer is None else max(1, int(answer)),
}
"""How an answer is read, by kind and member: in the type promised, or refused."""
