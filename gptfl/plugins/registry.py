"""Finds every part that gptfl or a plugin registers, and says plainly what is broken."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

from gptfl.core.versions import version_of
from gptfl.errors import PluginError
from gptfl.plugins import hooks, interfaces
from gptfl.plugins.parts import KINDS, MENDING, OWN, Part, guarded, interface_members

TAGS: Mapping[str, type] = {"estimator": interfaces.EstimatorTags, "encoder": interfaces.EncoderTags}
"""What says what a part of a kind can do."""
NEEDS: Mapping[str, str] = {"metric": "needs"}
"""The members that name what must be there."""
HOOKS: Mapping[str, str] = {f"gptfl_{kind}s": kind for kind in KINDS}
BUILTIN = "gptfl.builtin"
"""gptfl's own plugin, by name: it lies above all that it registers."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin, or a part of one, that can't be used, and why, in one line."""

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
            raise PluginError(f"{kind} {name!r} is claimed by {_owners(claims)}", "uninstall all but one of them")
        return claims[0]

    def make(self, kind: str, name: str, **settings: Any) -> Any:
        """Make a part with these settings and hold it against its interface; a plugin's is guarded (``Guarded``).

        Raises ``PluginError`` for an unknown name or setting, for a library that the part needs
        and that is not installed, for whatever else a plugin's factory raises that is no
        ``GptflError``, and for a part that lacks what its interface promises.
        """
        part = self.find(kind, name)
        with part.blamed("its factory"):
            try:
                _check_known(part, settings)
                made = part.factory(**settings)
            except ModuleNotFoundError as error:
                if (error.name or OWN).split(".")[0] == OWN:
                    raise
                raise PluginError(
                    f"{part.who} needs the Python module {error.name!r}, which is not installed",
                    "install the package that provides it",
                ) from error
            _check_members(part, made)
            return guarded(part, made)

    def takes(self, kind: str, name: str, setting: str) -> bool:
        """Whether a part's factory names this setting among its parameters. Raises ``PluginError``."""
        return setting in self.parameters(kind, name)

    def parameters(self, kind: str, name: str) -> Mapping[str, inspect.Parameter]:
        """What a part's factory takes by name; nothing where that can't be told. Raises ``PluginError``."""
        part = self.find(kind, name)
        with part.blamed("its factory"):
            return _parameters(part) or {}

    def note(self, owner: str, reason: str) -> None:
        """Remember what is wrong with a plugin."""
        self.problems.append(Problem(owner, " ".join(reason.split())))

    def claim(self, owner: str, kind: str, name: object, factory: object) -> None:
        """Take one name for its owner, unless it is no name, has no factory, or is gptfl's own.

        Args:
            owner: the plugin, or gptfl.
            kind: of the part, one of the hooks'.
            name: of the part.
            factory: makes the part.
        """
        if not isinstance(name, str) or not callable(factory):
            self.note(owner, f"its {kind} {name!r} is not a name with a factory: skipped")
            return
        claims = self.parts.setdefault((kind, name), [])
        if any(part.owner == OWN for part in claims):
            self.note(owner, f"{kind} {name!r} is gptfl's own name: skipped")
            return
        claims.append(Part(kind, name, owner, factory))


def _parameters(part: Part) -> Mapping[str, inspect.Parameter] | None:
    """What a part's factory takes by name; None where that can't be told."""
    try:
        parameters = inspect.signature(part.factory).parameters
    except (TypeError, ValueError):
        return None  # some callables have no signature; calling them tells
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in positional}


def _check_known(part: Part, settings: Mapping[str, Any]) -> None:
    """Raise ``PluginError`` for a setting that the part's factory doesn't take, where that can be told."""
    known = _parameters(part)
    if known is None or any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in settings:
        if name not in known:
            remedy = suggest(name, known) if known else "it takes none"
            raise PluginError(f"{part.kind} {part.name!r} has no setting {name!r}", remedy)


def _check_members(part: Part, made: object) -> None:
    """Raise ``PluginError`` where a part lacks a member, or names its needs otherwise than as a set of words."""
    missing = [member for member in interface_members(part.kind) if not hasattr(made, member)]
    if missing:
        raise PluginError(f"{part.who} lacks {', '.join(missing)}", MENDING)
    tags = TAGS.get(part.kind)
    if tags is not None and not isinstance(made.tags, tags):  # type: ignore[attr-defined]
        raise PluginError(
            f"{part.who} has tags {made.tags!r}, which are no {tags.__name__}",  # type: ignore[attr-defined]
            MENDING,
        )
    member = NEEDS.get(part.kind)
    if member is not None:
        needs = getattr(made, member)
        if not isinstance(needs, Set) or not all(isinstance(need, str) for need in needs):
            raise PluginError(f"{part.who} has {member} {needs!r}, which is not a set of words", MENDING)


def suggest(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest one, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


def build(plugins: Iterable[EntryPoint | ModuleType]) -> Registry:
    """Register gptfl's own parts, then each plugin by itself, so that one that breaks stays alone."""
    registry = Registry()
    _register(registry, importlib.import_module(BUILTIN), OWN)
    seen = set()
    for plugin in plugins:
        owner = plugin.__name__ if isinstance(plugin, ModuleType) else owner_of(plugin)
        try:
            loaded = plugin if isinstance(plugin, ModuleType) else plugin.load()
        except (Exception, SystemExit) as error:
            registry.note(owner, f"can't be loaded: {type(error).__name__}: {error}")
            continue
        if id(loaded) not in seen:
            seen.add(id(loaded))
            _register(registry, loaded, owner)
    for (kind, name), claims in registry.parts.items():
        if len(claims) > 1:
            registry.note(_owners(claims), f"all claim {kind} {name!r}: it can't be used until one is left")
    return registry


def _register(registry: Registry, plugin: object, owner: str) -> None:
    """Take every hook of one plugin, or note what is wrong with it."""
    # A manager of its own, so that what pluggy keeps of a plugin it refuses touches no other.
    manager = pluggy.PluginManager("gptfl")
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin, owner)
    except pluggy.PluginValidationError as error:
        registry.note(owner, f"can't be registered: {error}")
        return
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        registry.note(owner, f"implements no hook: mark {', '.join(HOOKS)} with gptfl.plugins.hooks.hookimpl")
    for caller in callers:
        if caller.name not in HOOKS:
            registry.note(owner, f"implements {caller.name}, which is no hook of gptfl: {suggest(caller.name, HOOKS)}")
            continue
        for implementation in caller.get_hookimpls():
            _take(registry, owner, HOOKS[caller.name], implementation.function)


def _take(registry: Registry, owner: str, kind: str, hook: Callable[[], Any]) -> None:
    """Take what one hook of one plugin returns, or note why it can't be taken."""
    try:
        # Not through the hook caller: it drops a None, which is a forgotten return and should be told.
        answer = hook()
        if not isinstance(answer, Mapping):
            registry.note(owner, f"gptfl_{kind}s returned {type(answer).__name__}, not a mapping of names to factories")
            return
        items = list(answer.items())
    except (Exception, SystemExit) as error:
        registry.note(owner, f"gptfl_{kind}s raised {type(error).__name__}: {error}")
        return
    for name, factory in items:
        registry.claim(owner, kind, name, factory)


def _owners(claims: Iterable[Part]) -> str:
    return " and ".join(sorted(part.owner for part in claims))


def owner_of(entry_point: EntryPoint) -> str:
    """How messages call the provider of an entry point: its distribution, with the version."""
    if entry_point.dist is None:
        return entry_point.name
    return f"{entry_point.dist.name} {version_of(entry_point.dist)}"


_USED: list[Registry] = []
"""What ``using`` put in the place of what is installed; the last one counts."""


@contextmanager
def using(registry: Registry) -> Iterator[Registry]:
    """For as long as the block runs, this registry is the one of the process: what is installed is not looked at."""
    _USED.append(registry)
    try:
        yield registry
    finally:
        _USED.remove(registry)


def get_registry() -> Registry:
    """The registry of this process: gptfl and every installed plugin, unless another is in use (``using``)."""
    return _USED[-1] if _USED else installed()


@functools.cache
def installed() -> Registry:
    """gptfl and every installed plugin; looked for once a process."""
    found: dict[tuple[str, str], EntryPoint] = {}
    for point in entry_points(group=hooks.ENTRY_POINT_GROUP):
        found[owner_of(point), point.name] = point
    return build(found[key] for key in sorted(found))
