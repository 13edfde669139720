"""Guards and writes what leaves gptfl: texts, pictures and folders take their name whole, and never the place of a foreign file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from gptfl.errors import DataError, GptflError, NotKept, ResourceError
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.kinds import KINDS
from gptfl.store.parquet_rows import made_by

PAGE = b"<!doctype html>\n<!-- gptfl report -->"
"""How a page begins."""
STARTS: dict[str, tuple[bytes, ...]] = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".pdf": (b"%PDF-",),
    ".svg": (b"<?xml", b"<svg"),
    ".json": (b'{\n  "recording": ',),
    ".csv": (b"estimator,",),
    ".parquet": (b"PAR1",),
    ".txt": (b"# gptfl select",),
    ".html": (PAGE,),
    ".htm": (PAGE,),
    ".md": (b"<!-- gptfl check -->",),
    ".tex": (b"% needs \\usepackage{booktabs}",),
}
"""How the pictures, tables and lists of ids begin that gptfl writes, by suffix."""


def check_target(path: Path, kind: str, flag: str = "--output") -> None:
    """Raise ``DataError`` unless a path is free or holds a gptfl file of this kind.

    Ask before any work: what is there is the user's, perhaps the recording that the work starts from.
    """
    if not _is_taken(path, flag):
        return
    from gptfl.store.files import read_header  # with h5py, which a process that only draws does without

    expected = KINDS[kind]
    try:
        found = read_header(path).kind
    except DataError as error:
        raise _keep(path, f"is no whole {expected.noun} ({error.problem})", flag) from error
    if found != kind:
        raise _keep(path, f"is a {KINDS[found].noun}, not a {expected.noun}", flag)


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
    if not begins.startswith(starts) or (path.suffix.lower() == ".parquet" and made_by(path) is None):
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


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the name when the block ends without an exception.

    It then lasts through a power cut. Raises ``ResourceError`` where the system refuses; a file of that name is then
    untouched.
    """
    try:
        with part_of(path) as part:
            yield part
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error


R = TypeVar("R")


class ResultWriter(Generic[R]):
    """A result on its way to disk.

    Its fields that name a file become None where that can't be written. What was asked for makes ``finish`` raise;
    what comes beside it, as a picture does, is told in the result's ``unkept``.
    """

    def __init__(self, result: R) -> None:
        self.result = result
        self._required: list[GptflError] = []
        self._beside: list[GptflError] = []

    def write(self, field: str, write: Callable[[R], object]) -> None:
        """Write the file that the result's ``field`` names, which was asked for."""
        try:
            write(self.result)
        except ResourceError as error:
            self._lose(field, error, required=True)

    def draw(self, field: str, draw: Callable[[R], object], required: bool) -> None:
        """Draw the picture that ``field`` names. Whatever matplotlib stumbles over, the result stands."""
        try:
            draw(self.result)
        except GptflError as error:
            self._lose(field, error, required)
        except Exception as error:  # told with its type, so that it is no less a bug
            path = getattr(self.result, field)
            what = f"{path} can't be drawn ({type(error).__name__}: {error})"
            self._lose(field, ResourceError(what, "the numbers stand without it"), required)

    def finish(self) -> R:
        """The result. Raises ``NotKept``, which has it, where what was asked for couldn't be written."""
        unkept = tuple(str(error) for error in (*self._required[1:], *self._beside))
        result: R = replace(self.result, unkept=unkept)  # type: ignore[type-var]
        for first in self._required:
            raise NotKept(first.problem, first.remedy, result) from first
        return result

    def _lose(self, field: str, error: GptflError, required: bool) -> None:
        (self._required if required else self._beside).append(error)
        nothing: dict[str, Any] = {field: None}
        self.result = replace(self.result, **nothing)  # type: ignore[type-var]
