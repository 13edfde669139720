"""Texts of unknown origin: which may be ids, how ids are written on a line, and JSON in and out."""

import json
import math
import re
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from gptfl.errors import UNSAFE, harmless, one_line

ID_RULE = "an id is a text without control characters and without white space around it, or a whole number"
MOST_DIGITS = 20
"""No number that is taken has more; Python makes none of thousands of digits."""
_STRUCTURE = "\n"
"""The only character of ``UNSAFE`` that JSON itself may hold outside of its texts, for indentation."""


class JsonError(ValueError):
    """What is wrong with a text that should be JSON; ``at`` is the place in it, where the parser tells one."""

    def __init__(self, problem: str, at: int | None = None) -> None:
        super().__init__(problem)
        self.at = at


def id_problem(id: str) -> str:
    """What keeps a text from being an id of an example, as the end of a sentence; empty where nothing does."""
    if not id:
        return "is empty"
    if id != id.strip():
        return "has white space around it"
    found = UNSAFE.search(id)
    return "" if found is None else f"holds a control character (U+{ord(found[0]):04X})"


def written_id(id: str) -> str:
    """An id as a line can hold it: as it is, or, where that can't be read back, as a JSON string."""
    # What begins like a JSON string is quoted as well, so that no two ids are written alike.
    return json_text(id) if id_problem(id) or id.startswith('"') else id


def id_on(line: str, known: Container[str]) -> str | None:
    """The known id that a line names; None where it names none.

    A line holds an id as ``written_id`` writes it, or as it is, or with white space around it, or as a JSON string.
    """
    if not line.strip():
        return None
    quoted = _unquoted(line.strip())
    if quoted is not None and quoted in known and written_id(quoted) == line.strip():
        return quoted
    for one in (line, line.strip(), quoted):
        if one is not None and one in known:
            return one
    return None


def _unquoted(line: str) -> str | None:
    if len(line) < 2 or line[0] != '"' or line[-1] != '"':
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def shown_line(text: str) -> str:
    """A text on one line with every run of white space made one space, without what a terminal would obey."""
    return " ".join(harmless(" ".join(text.split()), " ").split())


def finite(value: Any) -> Any:
    """A JSON-able value whose numbers that are not finite are None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON: null for a number that is not finite, escapes for what a terminal would obey."""
    text = json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return UNSAFE.sub(lambda found: found[0] if found[0] == _STRUCTURE else f"\\u{ord(found[0]):04x}", text)


def parse_json(text: str, lenient: bool = False) -> Any:
    """The value of a JSON text.

    Raises ``JsonError``, saying what is wrong, for what is no JSON, has a key twice, is nested too deeply, or holds a
    number that a float can't (``NaN``, ``1e400``, whole numbers alike) or half a character. With ``lenient``,
    ``NaN``, ``Infinity`` and large numbers are taken: gptfl's own files may hold them.
    """
    decoder = _LENIENT if lenient else _STRICT
    with _json_errors(text):
        value = decoder.decode(text)
        _check_whole(text, value)
    return value


def parse_json_at(text: str, start: int) -> tuple[Any, int]:
    """The value of the JSON that begins at a place of a text, and the place behind it; raises as ``parse_json``."""
    with _json_errors(text):
        value, end = _STRICT.raw_decode(text, start)
        _check_whole(text[start:end], value)
    return value, end


def _check_whole(text: str, value: Any) -> None:
    if "\\ud" in text or "\\uD" in text:  # an escape may be half a character, which no file can hold
        json.dumps(value, ensure_ascii=False).encode()


@contextmanager
def _json_errors(text: str) -> Iterator[None]:
    """Turn what the parser raises into a ``JsonError`` that says what is wrong."""
    try:
        yield
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        # Behind a line break, the parser would count the columns of the next line.
        column = min(error.pos, len(text.rstrip())) + 1
        raise JsonError(f"is no JSON ({error.msg}, column {column})", error.pos) from error
    except UnicodeEncodeError as error:
        raise JsonError("holds half a character (a lone surrogate)") from error
    except RecursionError as error:
        raise JsonError("is nested too deeply") from error
    except ValueError as error:  # of int, which takes no number of thousands of digits
        raise JsonError("holds a number that has too many digits") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise JsonError(f"has the key {json_text(name)[:60]} twice")
            seen.add(name)
    return values


def _constant(name: str) -> NoReturn:
    raise JsonError(f"holds {name}, which is no number")


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError(f"holds the number {_short(text)}, which is too large")
    return value


def _whole(text: str) -> int:
    # Python takes long to read thousands of digits, and no other reader of JSON takes them.
    if len(text.lstrip("-")) > sys.float_info.max_10_exp + 1 or math.isinf(float(text)):
        raise JsonError(f"holds the number {_short(text)}, which has too many digits")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:17]}..."


# Made once, since making one takes longer than to read a short line. Where numbers are taken as they come, the parser
# reads them without calling back.
_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_real, parse_int=_whole)
_LENIENT = json.JSONDecoder(object_pairs_hook=_unique)


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts numbers inside names as numbers."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name, re.ASCII)]


def counted(count: float, noun: str, form: str = "", plural: str | None = None) -> str:
    """So many of a thing: 1 run, 2 runs.

    Args:
        count: how many.
        noun: what one is called.
        form: of the number, as ``format`` has it.
        plural: what several are called, unless there is just an s.
    """
    number = format(count, form)
    return f"{number} {noun if number == '1' else plural or f'{noun}s'}"


__all__ = (
    "ID_RULE",
    "UNSAFE",
    "JsonError",
    "counted",
    "finite",
    "harmless",
    "id_on",
    "id_problem",
    "json_text",
    "natural",
    "one_line",
    "parse_json",
    "parse_json_at",
    "shown_line",
    "written_id",
)
