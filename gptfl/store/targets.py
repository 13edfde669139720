"""Guards what an output would overwrite: only a file of the very kind that takes its place."""

from pathlib import Path

from gptfl.errors import DataError
from gptfl.store.durable import cannot_write, part_of
from gptfl.store.files import read_header
from gptfl.store.kinds import KINDS

STARTS: dict[str, tuple[bytes, ...]] = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".pdf": (b"%PDF-",),
    ".svg": (b"<?xml", b"<svg"),
    ".json": (b'{\n  "recording": ',),
    ".csv": (b"estimator,",),
    ".txt": (b"# gptfl select",),
    ".tex": (b"% needs \\usepackage{booktabs}",),
}
"""How the pictures, tables and lists of ids begin that gptfl writes, by suffix."""


def check_target(path: Path, kind: str, flag: str = "--output") -> None:
    """Raise ``DataError`` unless a path is free or holds a gptfl file of this kind.

    Ask before any work: what is there is the user's, perhaps the recording that the work starts from.
    """
    if not _is_taken(path, flag):
        return
    wanted = KINDS[kind]
    try:
        found = read_header(path).kind
    except DataError as error:
        raise _keep(path, f"is no whole {wanted.noun} ({error.problem})", flag) from error
    if found != kind:
        raise _keep(path, f"is a {KINDS[found].noun}, not a {wanted.noun}", flag)


def check_plain_target(path: Path, flag: str) -> None:
    """Raise ``DataError`` unless a path is free or holds a picture or table of the type that its suffix names."""
    if not _is_taken(path, flag):
        return
    starts = STARTS[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            begins = file.read(max(map(len, starts)))
    except OSError as error:
        raise _keep(path, f"can't be read ({error.strerror})", flag) from error
    if not begins.startswith(starts):
        raise _keep(path, f"is not a {path.suffix.lower()} file as gptfl writes them", flag)


def check_writable(path: Path) -> None:
    """Raise ``ResourceError`` where a file can't be made beside a path; ask before work that is long."""
    try:
        with part_of(path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def _is_taken(path: Path, flag: str) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{flag} {path}: {error.strerror}", f"give another {flag}") from error
    if not path.is_file():
        raise _keep(path, "is not a file", flag)
    return True


def _keep(path: Path, what: str, flag: str) -> DataError:
    return DataError(f"{path} {what}, and is not overwritten", f"give another {flag}, or move it away")
