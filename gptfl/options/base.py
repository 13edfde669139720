"""What an option is: a field of a frozen dataclass that the command line, a file and Python all set.

A group is a dataclass of options. The options of a command are a dataclass, too, whose fields are groups or options.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from gptfl.errors import UsageError
from gptfl.options import types
from gptfl.options.recipe_keys import RENAMED

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
RATE_OR_NONE = Bound(lambda value: 0 <= value <= LARGEST_RATE, f"give 0 or more, at most {LARGEST_RATE:g}", "g")
DECAYING = Bound(lambda value: 0 <= value < 1, "give 0 or more, below 1", "g")
WARMUP = Bound(
    lambda value: 0 <= value < 1 or (1 <= value <= 2**31 and value == int(value)),
    "give a whole number of steps, or a share below 1",
    "g",
)
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
    """A field that is an option; one without a default has to be given.

    Args:
        default: its value where it isn't given.
        help: what ``--help`` and docs/cli.md say of it.
        flag: its flags on the command line, where they aren't the field's name.
        rest: the other fields of ``Option``.
    """
    flags = (flag,) if isinstance(flag, str) else tuple(flag)
    known = Option(help=help, flags=flags, **rest)
    # What isn't a part of the identity isn't shown either: gptfl doctor goes by what is.
    return field(default=default, repr=known.identity, metadata={KEY: known})


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
        """The types that one value may have in a command line or file: of each, where it may be given several times."""
        return types.plain(self.type)

    @property
    def several(self) -> bool:
        """Whether it may be given several times: then its value is a tuple."""
        return types.listed(self.type) is not None


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


def shell_names(kind: type) -> frozenset[str]:
    """The options that only the command line uses."""
    return frozenset(place.name for place in places(kind) if place.option.shell)


def all_but(kind: type, *names: str) -> frozenset[str]:
    """The options that are none of these."""
    return frozenset(place.name for place in places(kind)) - set(names)


def is_group(value: object) -> bool:
    """Whether a value is a group of options, which may also stand in the place of a function's first parameter."""
    return is_dataclass(value) and not isinstance(value, type)


def make(kind: type[T], *groups: object, **given: Any) -> T:
    """The options of a command from groups of them and from single ones, which go before: what its function takes.

    A group may also be given by name. None is not given. Raises ``TypeError`` for a name that no option has, for a group
    of another command, and where an option that has to be given isn't, and ``UsageError`` for a value of another type
    or out of bounds.
    """
    return assemble(kind, groups, given, without=shell_names(kind))


def assemble(
    kind: type[T], groups: Sequence[object], given: Mapping[str, Any], function: str = "", without: Collection[str] = ()
) -> T:
    """The object that ``make`` builds, for a function that takes some options itself.

    Args:
        kind: the dataclass of the command's options.
        groups: options in groups.
        given: options by name, which go before those in groups.
        function: what messages call the caller, by default the command's function.
        without: names that the caller takes itself, and that are no options of it.

    Raises ``TypeError`` for a name that is no option and for two groups of one kind, ``UsageError`` for a value out of
    type or bounds.
    """
    function = function or function_name(kind)
    hints = get_type_hints(kind)
    known = {place.name: place for place in places(kind) if place.name not in without}
    groups_of = {one.group for one in known.values()}
    own = [(one.name, hints[one.name]) for one in fields(kind) if is_dataclass(hints[one.name])]  # type: ignore[arg-type]
    slots: dict[Any, str] = {inner: name for name, inner in own if name in groups_of}
    named = {name: value for name, value in given.items() if is_group(value)}
    single: dict[str | None, dict[str, Any]] = {}
    for name, value in given.items():
        if name in named:
            continue
        if name not in known:
            raise TypeError(f"{function} has no option {name!r}: {nearest(name, known)}")
        if value is not None:
            single.setdefault(known[name].group, {})[name] = _given(known[name], value, f"{function}: {name}")
    parts: dict[str, Any] = {}
    for group in (*groups, *named.values()):
        if not is_group(group):
            raise UsageError(
                f"{function}: {types.shown(group)} is no group of options",
                "name the option that it is of, as in seed=3",
            )
        if type(group) not in slots:
            raise TypeError(f"{function} takes no {type(group).__name__}")
        # A group is made without a look at its values.
        read = {
            one.name: _given(one, getattr(group, one.name), f"{function}: {one.name}") for one in places(type(group))
        }
        parts[slots[type(group)]] = replace(group, **read)
    for name, inner in own:
        mine = single.get(name, {})
        parts[name] = replace(parts[name], **mine) if name in parts else _built(inner, mine, function)
    made: T = _built(kind, parts | single.get(None, {}), function)
    for place in places(kind):
        if place.name in without and value_of(made, place) != place.default:
            raise TypeError(f"{function} has no option {place.name!r}")
    check(made)
    return made


def _given(place: Place, value: Any, where: str) -> Any:
    """What Python gives for an option. Raises ``UsageError`` for a value of another type."""
    kinds = types.alternatives(place.type)
    if value is None and place.default is not MISSING:
        return None if type(None) in get_args(place.type) else place.default
    if not place.several:
        return types.read(kinds, value, where)
    item = types.alternatives(types.listed(place.type))
    others = [one for one in kinds if get_origin(one) is not tuple]
    with suppress(UsageError):
        return types.read(others, value, where)
    if types.is_many(value):
        return tuple(types.read(item, one, where) for one in value)
    return (types.read([*item, *others], value, where),)


def _built(inner: Any, given: Mapping[str, Any], function: str) -> Any:
    for one in fields(inner):
        if one.default is MISSING and one.name not in given:
            raise TypeError(f"{function} needs {one.name!r}")
    return inner(**given)


def function_name(kind: type) -> str:
    """The function of a command's options: their class names it, or says its own name in ``FUNCTION``."""
    name = "".join(f"_{one.lower()}" if one.isupper() else one for one in kind.__name__.removesuffix("Options"))
    return getattr(kind, "FUNCTION", name.removeprefix("_"))


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that isn't known."""
    # A trainer's name is nothing like its own.
    known = list(known)
    own = RENAMED.get(name.replace("-", "_"), "")
    close = [one for one in known if one.replace("-", "_") == own] or get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else "see docs/cli.md"


def shared(options: Any, kind: type) -> dict[str, Any]:
    """The values of those options that the function of another command has, too."""
    names = {place.name for place in places(kind)} - shell_names(kind)
    return {place.name: value_of(options, place) for place in places(type(options)) if place.name in names}


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
