"""How a stage reports, and how values are identified."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError, UsageError

_ENCODE = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
"""As json.dumps does, which makes an encoder at each call."""
SHOWN = 100
"""So many characters of what should be a path are shown."""


class Progress(Protocol):
    """How a stage reports: it calls ``progress(what, done, total, note)`` and prints nothing."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None: ...


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """The progress callback that reports nothing.

    Args:
        what: what is being done.
        done: how much of it is.
        total: how much there is.
        note: what else there is to say.
    """


def user_path(given: str | Path) -> Path:
    """A path as it was given, ``~`` and ``~name`` being that user's home.

    Where there is no such user, or no home is known, it is what it says, as in a shell. Raises ``UsageError`` for what is
    no path.
    """
    try:
        path = Path(given)
    except TypeError:
        text = " ".join(repr(given).split())
        raise UsageError(f"{text[:SHOWN]}{'…' * (len(text) > SHOWN)} is no path", "give a text or a path") from None
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def real_path(path: Path) -> Path:
    """What a path leads to, links followed; a circle of links is left as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


@dataclass(frozen=True, slots=True)
class Blocks:
    """An array that comes in consecutive blocks of rows, to be fingerprinted like the whole of it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]


def fingerprint(*parts: object) -> str:
    """Hash JSON-able values and arrays to 16 hex digits, the same on every machine.

    Raises ``DataError`` for a text that can't be in a file.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Blocks):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            for block in part.blocks:
                digest.update(np.ascontiguousarray(block).tobytes())
        elif isinstance(part, BlockedRows):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            for _, block in part.blocks():
                digest.update(np.ascontiguousarray(block).data)
        elif isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        else:
            text = _ENCODE(part)
            try:
                digest.update(text.encode())
            except UnicodeEncodeError as error:
                near = text[max(0, error.start - 20) : error.start]
                raise DataError(
                    f"a text holds half a character (a lone surrogate) after {near!r}",
                    "write it whole, or leave it out",
                ) from error
        digest.update(b"\0")
    return digest.hexdigest()[:16]
