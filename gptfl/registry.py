"""Finds every part that gptfl or a plugin registers, and says plainly what is broken."""

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, cast

import pluggy

from gptfl import hookspecs, interfaces
from gptfl.builtin import plugin as builtin_plugin
from gptfl.errors import PluginError

KINDS: Mapping[str, type] = {
    "task": interfaces.Task,
    "encoder": interfaces.Encoder,
    "metric": interfaces.Metric,
    "estimator": interfaces.Estimator,
    "executor": interfaces.Executor,
}
OWN = "gptfl"


@dataclass(frozen=True, slots=True)
class Part:
    """A registered name: its kind, who provides it, and the factory that makes it."""

    kind: str
    name: str
    owner: str
    factory: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin, or a part of one, that can't be used, and why."""

    owner: str
    reason: str


@dataclass
class Registry:
    """Every part by kind and name; a name that two plugins claim fails only when it is used."""

    parts: dict[tuple[str, str], list[Part]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def names(self, kind: str) -> list[str]:
        """The names of one kind, in alphabetical order."""
        return sorted(name for k, name in self.parts if k == kind)

    def find(self, kind: str, name: str) -> Part:
        """The part of that name, or ``PluginError`` with the nearest known name."""
        claims = self.parts.get((kind, name), [])
        if not claims:
            raise PluginError(f"unknown {kind} {name!r}", suggest(name, self.names(kind)))
        if len(claims) > 1:
            owners = " and ".join(sorted(part.owner for part in claims))
            raise PluginError(f"{kind} {name!r} is claimed by {owners}", "uninstall one of them")
        return claims[0]

    def make(self, kind: str, name: str, **settings: Any) -> Any:
        """Make a part with these settings and hold it against its interface."""
        part = self.find(kind, name)
        try:
            made = part.factory(**settings)
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown and unknown[1] in settings:
                raise PluginError(
                    f"{kind} {name!r} has no setting {unknown[1]!r}", f"see what {part.owner} documents for it"
                ) from error
            raise
        missing = [member for member in interface_members(kind) if not hasattr(made, member)]
        if missing:
            raise PluginError(
                f"{kind} {name!r} of {part.owner} lacks {', '.join(missing)}", "the plugin needs mending"
            )
        return made

    def add(self, plugin: object, owner: str, hook: Callable[[], list[Any]], kind: str) -> None:
        """Take what one plugin's hook returns, or note why it can't be taken."""
        try:
            answers = hook()
        except Exception as error:
            self.problems.append(Problem(owner, f"its {kind} hook raised {type(error).__name__}: {error}"))
            return
        for answer in answers:
            if not isinstance(answer, Mapping):
                self.problems.append(
                    Problem(owner, f"its {kind} hook returned {type(answer).__name__}, not a mapping of names")
                )
                continue
            for name, factory in answer.items():
                self._claim(owner, kind, name, factory)

    def _claim(self, owner: str, kind: str, name: object, factory: object) -> None:
        if not isinstance(name, str) or not callable(factory):
            self.problems.append(Problem(owner, f"its {kind} {name!r} is not a name with a factory"))
            return
        claims = self.parts.setdefault((kind, name), [])
        if any(part.owner == OWN for part in claims):
            self.problems.append(Problem(owner, f"{kind} {name!r} is gptfl's own name: skipped"))
            return
        claims.append(Part(kind, name, owner, factory))
        if len(claims) == 2:
            owners = " and ".join(sorted(part.owner for part in claims))
            self.problems.append(Problem(owners, f"both claim {kind} {name!r}: neither can be used"))


def interface_members(kind: str) -> list[str]:
    """The names that an object of this kind must have."""
    protocol = KINDS[kind]
    annotated = list(getattr(protocol, "__annotations__", {}))
    return annotated + [name for name in vars(protocol) if callable(getattr(protocol, name)) and name[0] != "_"]


def suggest(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest one, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


def build(plugins: Iterable[EntryPoint | ModuleType]) -> Registry:
    """Register gptfl's own parts, then each plugin by itself, so that one that breaks stays alone."""
    registry = Registry()
    manager = pluggy.PluginManager("gptfl")
    manager.add_hookspecs(hookspecs)
    manager.register(builtin_plugin, OWN)
    for plugin in plugins:
        _register(manager, registry, plugin)
    for owner, plugin in manager.list_name_plugin():
        others = [other for _, other in manager.list_name_plugin() if other is not plugin]
        for kind in KINDS:
            hook = manager.subset_hook_caller(f"gptfl_{kind}s", others)
            registry.add(plugin, owner, cast(Callable[[], list[Any]], hook), kind)
    return registry


def _register(manager: pluggy.PluginManager, registry: Registry, plugin: EntryPoint | ModuleType) -> None:
    owner = plugin.__name__ if isinstance(plugin, ModuleType) else owner_of(plugin)
    try:
        module = plugin if isinstance(plugin, ModuleType) else plugin.load()
        manager.register(module, owner)
    except Exception as error:
        registry.problems.append(Problem(owner, f"can't be loaded: {type(error).__name__}: {error}"))


def owner_of(entry_point: EntryPoint) -> str:
    """How messages call the provider of an entry point: its distribution, with the version."""
    if entry_point.dist is None:
        return entry_point.name
    return f"{entry_point.dist.name} {entry_point.dist.version}"


@functools.cache
def get_registry() -> Registry:
    """The registry of this process: gptfl and every installed plugin."""
    found = {(point.name, point.value): point for point in entry_points(group=hookspecs.ENTRY_POINT_GROUP)}
    return build(sorted(found.values(), key=owner_of))
