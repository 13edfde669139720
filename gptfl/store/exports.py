"""Writes what leaves gptfl: a folder or file takes its name when it is whole, and never a foreign one's place."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gptfl.core import real_path
from gptfl.core.texts import parse_json
from gptfl.errors import DataError
from gptfl.store.durable import cannot_write, part_of, put_folder_in_place
from gptfl.store.jsonlines import read_plain

MARKER = "gptfl-export.json"
"""The file that tells an exported folder from any other; it lists what was written there."""
MADE_BY = "gptfl export"
MAX_MARKER = 16 * 2**20


def check_folder(folder: Path, flag: str = "--to") -> None:
    """Raise ``DataError`` unless a folder is free, empty, or holds nothing but what ``gptfl export`` wrote."""
    try:
        if not folder.exists() and not folder.is_symlink():
            return
        if folder.is_symlink():
            raise _keep(folder, "is a link", flag)
        if Path.cwd().is_relative_to(real_path(folder)):
            raise _keep(folder, "is the current folder or above it", flag)
        if not folder.is_dir():
            raise _keep(folder, "is a file", flag)
        written = _written(folder)
        for path in _files_in(folder):
            if str(path.relative_to(folder)) not in written:
                raise _keep(folder, f"holds {path.relative_to(folder)}, which gptfl export didn't write", flag)
    except OSError as error:
        raise DataError(f"{flag} {folder}: {error.strerror}", f"give another {flag}") from error


@contextmanager
def new_folder(folder: Path, about: dict[str, Any]) -> Iterator[Path]:
    """A folder to fill, which takes its name when the block ends without an exception.

    An earlier export of that name goes. ``about`` is kept in the marker. Raises ``DataError`` as ``check_folder``
    does, and ``ResourceError`` where nothing can be written.
    """
    check_folder(folder)
    try:
        with part_of(folder, folder=True) as part:
            yield part
            files = sorted(str(path.relative_to(part)) for path in _files_in(part))
            marker = {"made_by": MADE_BY, "gptfl": version("gptfl"), **about, "files": [*files, MARKER]}
            (part / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
            # Checked again: what was put there meanwhile isn't gptfl's to delete.
            check_folder(folder)
            put_folder_in_place(part, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _written(folder: Path) -> set[str]:
    """What the marker of a folder lists; nothing where there is no marker of an export."""
    marker = folder / MARKER
    try:
        content = parse_json(read_plain(marker, MAX_MARKER).decode("utf-8"))
    except (DataError, ValueError):
        return set()
    files = content.get("files") if isinstance(content, dict) and content.get("made_by") == MADE_BY else None
    return {name for name in files if isinstance(name, str)} if isinstance(files, list) else set()


def _files_in(folder: Path) -> Iterator[Path]:
    """Everything in a folder that isn't a plain folder itself, links included."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        yield from (here / name for name in files)
        yield from (here / name for name in folders if (here / name).is_symlink())


def _keep(path: Path, what: str, flag: str) -> DataError:
    return DataError(f"{path} {what}, and is not overwritten", f"give another {flag}, or move it away")
