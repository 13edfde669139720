"""Makes a file readable again that another program had open to write, and left so."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gptfl.core import real_path, user_path
from gptfl.errors import DataError, GptflError, ResourceError
from gptfl.recording.inspect import inspect
from gptfl.store.durable import cannot_write, in_use, part_of, put_in_place
from gptfl.store.files import check_signature
from gptfl.store.marks import SIZE, is_marked, unmarked
from gptfl.store.safety import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Unlocked:
    """The file, and whether it had to be changed to be read."""

    path: Path
    changed: bool


def unlock(path: str | Path) -> Unlocked:
    """Clear the mark by which HDF5 tells that a program has a file open to write.

    A copy is changed and read as a whole; only then does it take the file's name. Raises ``ResourceError`` where a
    program still has the file locked, or it can't be replaced, and ``DataError`` where it isn't a file of gptfl or
    is damaged; the file is then as it was.
    """
    path = user_path(path)
    size = check_signature(path)
    if not is_marked(path):
        inspect(path)
        return Unlocked(path, False)
    if size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GiB", "gptfl writes no file that large")
    # What a link leads to is replaced, and the link stays.
    target = real_path(path)
    try:
        if in_use(target):
            raise ResourceError(f"{path} is still open in another program", "close it there first")
        with part_of(target) as part:
            shutil.copyfile(target, part)
            with part.open("r+b") as file:
                head = unmarked(bytearray(file.read(SIZE)))
                file.seek(0)
                file.write(head)
            _check(part, path)
            shutil.copymode(target, part)
            # Which file was made last is still to be seen.
            times = target.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
            put_in_place(part, target)
    except OSError as error:
        raise cannot_write(path, error) from error
    return Unlocked(path, True)


def _check(part: Path, path: Path) -> None:
    """Raise ``DataError``, naming ``path``, unless all of a file can be read."""
    try:
        inspect(part)
    except GptflError as error:
        problem = error.problem.replace(str(part), str(path))
        raise DataError(f"{problem}, and it was left open to write", error.remedy) from error
