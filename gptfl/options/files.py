"""Options as a file or another process has them, and as they are typed."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from gptfl.errors import DataError, UsageError
from gptfl.options import types
from gptfl.options.base import Place, make, nearest, places, value_of

T = TypeVar("T")

MAX_BYTES = 2**16
"""No file of options or of a recipe is larger; parsers written in Python take a second for so many bytes."""


def read_small(path: Path, called: str, name: str, give: str, encoding: str = "utf-8") -> str:
    """The text of a file of options, a pipe or a device.

    Args:
        path: where it is.
        called: what messages call it, such as ``--config run.toml``.
        name: how to name a file where there is none, for the message.
        give: what to give instead of one that is too large, for the message.
        encoding: of its bytes.

    Raises ``DataError`` where it can't be read.
    """
    try:
        if not path.is_file() and not is_stream(path):
            raise DataError(f"{called} is no file", name)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"{called} is larger than {MAX_BYTES:,} bytes", give)
        return data.decode(encoding)
    except OSError as error:
        raise DataError(f"{called} can't be read: {error.strerror or error}", "look at its rights") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{called} is not UTF-8 at byte {error.start}", "save it as UTF-8") from error


def is_stream(path: Path) -> bool:
    """Whether this is a pipe or a device, such as /dev/stdin, whose name tells nothing of what it holds."""
    try:
        # What the shell puts in the place of /dev/stdin may be a plain file.
        return path.is_fifo() or path.is_char_device() or (path.is_file() and path.parts[:2] == ("/", "dev"))
    except OSError:
        return False


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


def read_values(known: Sequence[Place], given: Mapping[str, Any], where: str, command: str = "") -> dict[str, Any]:
    """The values by option name of what a file says by key, with hyphens or underscores.

    Args:
        known: the options that there are.
        given: what the file says.
        where: the file, for messages.
        command: whose options they are, for messages.

    Raises ``UsageError`` as ``from_json`` does.
    """
    of = f" of {command}" if command else ""
    by_key = {name: place for place in known for name in (place.name, place.key.replace("-", "_"))}
    found: dict[str, Any] = {}
    for key, value in given.items():
        place = by_key.get(key.replace("-", "_"))
        if place is None:
            keys = [one.key for one in known]
            raise UsageError(
                f"{where} has the key {key!r}, which is no option{of}", nearest(key.replace("_", "-"), keys)
            )
        if place.name in found:
            raise UsageError(f"{where} gives {place.key!r} twice", "give it once")
        found[place.name] = _read(place, value, f"{where}: {key}")
    return found


def _read(place: Place, value: Any, where: str) -> Any:
    if place.several:
        listed = value if isinstance(value, list | tuple) else [value]
        return tuple(types.read(place.takes, one, where) for one in listed)
    return types.read(place.takes, value, where)


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
