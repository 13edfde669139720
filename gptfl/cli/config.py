"""Options as a file: read for ``--config``, written for ``--print-config``."""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, UsageError
from gptfl.options.base import Place, places
from gptfl.options.files import is_stream, read_small, to_json
from gptfl.plugins.settings import check_utf8

MAX_PARTS = 32


def _read_json(text: str) -> Any:
    from gptfl.core.texts import parse_json  # with all of core, which a command without --config may load later

    return parse_json(text)


READERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": _read_json}


def read_config(path: Path) -> Mapping[str, Any]:
    """What a file says, by its suffix TOML or JSON.

    Raises ``UsageError`` for another suffix, and ``DataError`` where it can't be read or holds no options by name.
    """
    streamed = is_stream(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None and not streamed:
        raise UsageError(f"--config {path} is no .toml or .json file", f"end its name in {' or '.join(READERS)}")
    name = "give --config the name of one, as --print-config writes it"
    text = read_small(path, str(path), name, "give --config a file of options")
    kind = path.suffix[1:]
    if reader is None:
        kind = "json" if text.lstrip().startswith("{") else "toml"
        reader = READERS[f".{kind}"]
    # tomllib would take long to read keys of very many parts, and no option has any.
    toml = reader is tomllib.loads
    if toml and any(line.partition("=")[0].count(".") > MAX_PARTS for line in text.splitlines()):
        raise DataError(f"{path} has a key of more than {MAX_PARTS} parts", "write one option a line")
    from gptfl.core.texts import JsonError

    try:
        found = reader(text)
    except JsonError as error:
        raise DataError(f"{path} {error}", "mend it there") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no {kind.upper()}: {error}", "mend it there") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no options by name", 'write for example {"runs": 6}')
    for key, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                check_utf8(one, f"{path}: {key}")
    return found


def written(options: object) -> Iterator[str]:
    """The lines of a TOML file that ``--config`` reads as these options; those without a value are comments."""
    values = to_json(options)
    for place in places(type(options)):
        if place.key in values:
            yield f"{place.key} = {_toml(values[place.key])}"
        else:
            yield f"# {place.key}{_default(place)}"


def _default(place: Place) -> str:
    shown = place.option.shown
    return f": {shown}" if isinstance(shown, str) else ""


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's strings are JSON's, but that it takes no raw delete.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
