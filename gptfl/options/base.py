"""What an option is: a field of a frozen dataclass that the command line, a file and Python all set.

A group is a dataclass of options. The options of a command are a dataclass, too, whose fields are groups or options.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gptfl.errors import UsageError

T = TypeVar("T")
KEY = "option"
"""Where the metadata of a field hold its ``Option``."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a number has to be: ``remedy`` says it, ``form`` is how messages write the number."""

    fits: Callable[[Any], bool]
    remedy: str
    form: str = ""


def at_least(least: int, remedy: str = "") -> Bound:
    """A whole number of at least this."""
    return Bound(lambda value: value >= least, remedy or f"give at least {least}")


def share(remedy: str = "give a share between 0 and 1, such as 0.25") -> Bound:
    """A number between 0 and 1."""
    return Bound(lambda value: 0 < value < 1, remedy, "g")


POSITIVE = Bound(lambda value: 0 < value < math.inf, "give a positive number")
LARGEST_RATE = 1e9
"""No learning rate is larger: twice as many decimal places would leave what a float can hold."""
RATE = Bound(lambda value: 0 < value <= LARGEST_RATE, f"give a positive number, at most {LARGEST_RATE:g}")
NOT_NEGATIVE = Bound(lambda value: 0 <= value < math.inf, "give 0 or more", "g")
SEED = Bound(lambda value: 0 <= value < 2**63, "give a whole number from 0 to 2**63 - 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is known of an option beside its name, type and default.

    ``flags`` are how it is typed where that isn't ``--name``. ``shown`` is what help says of the default: a text, True
    for the default itself or False for nothing. ``bound`` is what a number has to be. ``complete`` says what the
    shell completes: a kind of registered part, ``model``, or the words themselves. An ``argument`` is given by its
    place. ``shell`` options are of the command line alone, and no function takes them. One without ``identity`` may
    differ between the calls that make one recording.
    """

    help: str
    flags: tuple[str, ...] = ()
    panel: str | None = None
    metavar: str | None = None
    shown: str | bool = True
    bound: "Bound | None" = None
    complete: str | tuple[str, ...] | None = None
    envvar: str | None = None
    argument: bool = False
    shell: bool = False
    identity: bool = True


def option(default: Any = MISSING, help: str = "", *, flag: str | tuple[str, ...] = (), **rest: Any) -> Any:
    """A field that is an option; one without a default has to be given. ``rest`` are the other fields of ``Option``."""
    flags = (flag,) if isinstance(flag, str) else tuple(flag)
    return field(default=default, metadata={KEY: Option(help=help, flags=flags, **rest)})


@dataclass(frozen=True, slots=True)
class Place:
    """An option where it stands: the group it is in (None in the command itself), its field and its type."""

    group: str | None
    field: "Field[Any]"
    type: Any
    panel: str | None

    @property
    def name(self) -> str:
        """Its name in Python."""
        return self.field.name

    @property
    def option(self) -> Option:
        """What is known of it."""
        known: Option = self.field.metadata[KEY]
        return known

    @property
    def flags(self) -> tuple[str, ...]:
        """How it is typed; ``--yes/--no`` is one flag."""
        return self.option.flags or (f"--{self.name.replace('_', '-')}",)

    @property
    def flag(self) -> str:
        """How messages call it."""
        return self.name.upper() if self.option.argument else self.flags[0].partition("/")[0]

    @property
    def key(self) -> str:
        """Its name in a file: as it is typed, without the hyphens in front."""
        return self.name if self.option.argument else self.flag.removeprefix("--")

    @property
    def default(self) -> Any:
        """What holds where it isn't given; ``MISSING`` where it has to be."""
        return self.field.default

    @property
    def takes(self) -> tuple[type, ...]:
        """The types that one value may have: of each, where it may be given several times."""
        kind = get_args(self.type)[0] if self.several else self.type
        return tuple(one for one in (get_args(kind) or (kind,)) if one is not type(None))

    @property
    def several(self) -> bool:
        """Whether it may be given several times: then its value is a tuple."""
        return get_origin(self.type) is tuple


def places(kind: type) -> tuple[Place, ...]:
    """The options of a group or command, those of its groups in their place.

    A group's ``PANEL`` is the panel of its options that name none.
    """
    return _places(kind)


@cache
def _places(kind: Any) -> tuple[Place, ...]:
    hints = get_type_hints(kind)
    found: list[Place] = []
    for one in fields(kind):
        inner = hints[one.name]
        if is_dataclass(inner) and isinstance(inner, type):
            found += [Place(one.name, deep.field, deep.type, deep.panel) for deep in places(inner)]
        else:
            panel = one.metadata[KEY].panel
            found.append(Place(None, one, inner, getattr(kind, "PANEL", None) if panel is None else panel or None))
    return tuple(found)


def value_of(options: object, place: Place) -> Any:
    """The value of an option."""
    return getattr(options if place.group is None else getattr(options, place.group), place.name)


def values(options: Any) -> dict[str, Any]:
    """Every option's value by its name in Python."""
    return {place.name: value_of(options, place) for place in places(type(options))}


def keywords(options: Any) -> dict[str, Any]:
    """As ``values``, without what only the command line uses: what the Python function of the command takes."""
    return {place.name: value_of(options, place) for place in places(type(options)) if not place.option.shell}


def make(kind: type[T], *groups: object, **given: Any) -> T:
    """The options of a command from groups of them and from single ones, which go before.

    A group may also be given by name. Raises ``TypeError`` for a name that no option has, for a group of another
    command, and where an option that has to be given isn't.
    """
    hints = get_type_hints(kind)
    slots = {hints[one.name]: one.name for one in fields(kind) if is_dataclass(hints[one.name])}  # type: ignore[arg-type]
    named = {name: value for name, value in given.items() if type(value) in slots}
    known = {place.name: place for place in places(kind)}
    single: dict[str | None, dict[str, Any]] = {}
    for name, value in given.items():
        if name in named:
            continue
        if name not in known:
            raise TypeError(f"{_function(kind)} has no option {name!r}: {_nearest(name, known)}")
        place = known[name]
        single.setdefault(place.group, {})[name] = tuple(value) if place.several and isinstance(value, list) else value
    parts: dict[str, Any] = {}
    for group in (*groups, *named.values()):
        if type(group) not in slots:
            raise TypeError(f"{_function(kind)} takes no {type(group).__name__}")
        parts[slots[type(group)]] = group
    for inner, slot in slots.items():
        mine = single.get(slot, {})
        parts[slot] = replace(parts[slot], **mine) if slot in parts else _built(inner, mine, kind)
    made: T = _built(kind, parts | single.get(None, {}), kind)
    return made


def _built(inner: Any, given: Mapping[str, Any], kind: type) -> Any:
    for one in fields(inner):
        if one.default is MISSING and one.name not in given:
            raise TypeError(f"{_function(kind)} needs {one.name!r}")
    return inner(**given)


def _function(kind: type) -> str:
    return kind.__name__.removesuffix("Options").lower()


def _nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else "see docs/cli.md"


def check(options: object) -> None:
    """Raise ``UsageError`` for the first number outside of its option's bounds; None is not given."""
    for place in places(type(options)):
        check_value(place, value_of(options, place))


def check_one(kind: type, name: str, value: Any) -> None:
    """Raise ``UsageError`` for a number outside of the bounds of the option of this name."""
    check_value(next(place for place in places(kind) if place.name == name), value)


def check_value(place: Place, value: Any) -> None:
    """Raise ``UsageError`` for a number outside of the option's bounds."""
    bound = place.option.bound
    if bound is not None and value is not None and not bound.fits(value):
        raise UsageError(f"is {value:{bound.form}}", bound.remedy, option=place.name, flag=place.flag)


def to_json(options: object, *, changed: bool = False) -> dict[str, Any]:
    """Every option that has a value by its key, as JSON has it; with ``changed`` only what isn't at its default."""
    found: dict[str, Any] = {}
    for place in places(type(options)):
        value = value_of(options, place)
        if value is None or (value == place.default and (changed or value == ())):
            continue
        found[place.key] = [_plain(one) for one in value] if isinstance(value, tuple) else _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    # Numbers of numpy among them, which may not be loaded.
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        return value
    return int(value) if hasattr(value, "__index__") else float(value)


def from_json(kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """The options that were written so; ``where`` says in messages from what.

    Raises ``UsageError`` for a key that is no option, a value of another type and an option that has to be given.
    """
    found = read_values(places(kind), given, where)
    for place in places(kind):
        if place.default is MISSING and place.name not in found:
            raise UsageError(f"{where} lacks {place.key!r}", "add it")
    return make(kind, **found)


def read_values(known: Sequence[Place], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values by option name of what a file says by key, with hyphens or underscores. Raises as ``from_json``."""
    by_key = {name: place for place in known for name in (place.name, place.key.replace("-", "_"))}
    found: dict[str, Any] = {}
    for key, value in given.items():
        place = by_key.get(key.replace("-", "_"))
        if place is None:
            keys = [one.key for one in known]
            raise UsageError(f"{where} has the key {key!r}, which is no option", _nearest(key.replace("_", "-"), keys))
        if place.name in found:
            raise UsageError(f"{where} gives {place.key!r} twice", "give it once")
        found[place.name] = _read(place, value, f"{where}: {key}")
    return found


WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def _read(place: Place, value: Any, where: str) -> Any:
    if place.several:
        listed = value if isinstance(value, list | tuple) else [value]
        return tuple(_read_one(place, one, where) for one in listed)
    return _read_one(place, value, where)


def _read_one(place: Place, value: Any, where: str) -> Any:
    for kind in place.takes:
        if kind is bool or isinstance(value, bool):
            fits = kind is bool and isinstance(value, bool)
        elif kind is float:
            fits = isinstance(value, int | float)
        else:
            fits = isinstance(value, str if kind is Path else kind)
        if fits:
            return Path(value) if kind is Path and str not in place.takes else value
    wanted = " or ".join(WORDS[kind] for kind in place.takes if not (kind is Path and str in place.takes))
    raise UsageError(f"{where} is {value!r}", f"give {wanted}")


def typed(options: object) -> list[str]:
    """The words of a command line that give these options: only those that aren't at their default."""
    arguments: list[str] = []
    words: list[str] = []
    for place in places(type(options)):
        value = value_of(options, place)
        if value is None or value == place.default:
            continue
        if place.option.argument:
            arguments.append(str(value))
        elif isinstance(value, bool):
            yes, _, no = place.flags[0].partition("/")
            words += [yes] if value else [no] if no else []
        else:
            for one in value if isinstance(value, tuple) else [value]:
                words += [place.flag, str(one)]
    return [*arguments, *words]
