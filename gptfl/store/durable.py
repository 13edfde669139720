"""Files and folders that take their name whole, through a kill or a power cut, and what killed commands left.

What is being written lies beside its place as ``.NAME.gptfl-TOKEN.part``. Its writer holds a lock on it, which the
system releases however the writer ends; whoever else gets the lock may delete it.
"""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gptfl.errors import ResourceError

if os.name == "posix":
    import fcntl

UNLOCKABLE = tuple(
    getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL") if hasattr(errno, name)
)
"""What a file system answers that keeps no locks, as some over a network do."""
DAY = 24 * 3600.0
"""Seconds after which a half-written file of which no lock can tell is taken for a dead one's."""
_OURS = re.compile(r"\..*\.gptfl-[0-9a-f]{8}\.part")
_FORMER = re.compile(r"\..*\.[A-Za-z0-9-]+-\d+\.part")
"""As gptfl named them before they were locked."""
_LONGEST = 200
_EXCHANGE = 2


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder that is there, as are those above it; what of them had to be made and is empty in the end is deleted.

    Raises ``OSError``.
    """
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in new:
            with suppress(OSError):  # it holds something
                one.rmdir()


@contextmanager
def part_of(path: Path, folder: bool = False) -> Iterator[Path]:
    """A locked, empty file (or ``folder``) beside ``path`` to write to; what is still there at the end is deleted.

    What killed commands left beside it goes first. Raises ``OSError``.
    """
    with made(path.parent):
        remove_leftovers(path.parent)
        part, handle = claim_part(path, folder)
        try:
            yield part
        finally:
            with suppress(OSError):
                _remove(part)
            if handle is not None:
                os.close(handle)


def put_in_place(part: Path, path: Path) -> None:
    """Give a file that is complete its name, so that it lasts through a power cut. Raises ``OSError``."""
    sync_file(part)
    part.replace(path)
    sync_folder(path.parent)


def put_folder_in_place(part: Path, folder: Path) -> None:
    """Give a folder that is complete its name. One that has it takes the other's, at one stroke where the system can.

    Raises ``OSError``.
    """
    mode = usual_mode(part)
    for root, _, files in os.walk(part):
        for name in files:
            (Path(root) / name).chmod(mode)
            sync_file(Path(root) / name)
        sync_folder(Path(root))
    if not folder.exists():
        part.replace(folder)
    elif not _exchange(part, folder):
        with part_of(folder, folder=True) as former:
            folder.replace(former)
            part.replace(folder)
    sync_folder(folder.parent)


def usual_mode(folder: Path) -> int:
    """The permissions that a new file has where a new folder has those of ``folder``: what the umask leaves.

    Libraries that write through a temporary file of their own leave it to its owner alone. Raises ``OSError``.
    """
    return folder.stat().st_mode & 0o666


def sync_file(path: Path) -> None:
    """Flush a file to the disk. Raises ``OSError``."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names in a folder last through a power cut, where folders can be flushed at all. Raises ``OSError``."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, former: bool = False) -> list[Path]:
    """Delete what killed commands left half-written in a folder; what a living one writes stays.

    ``former`` also deletes, a day after, what gptfl left under the names of earlier versions.
    """
    removed = []
    with suppress(OSError):
        for path in list(folder.glob(".*.part")):
            ours = _OURS.fullmatch(path.name) is not None
            # What another user left can stay: it is in nobody's way.
            with suppress(OSError):
                if (ours and _abandoned(path)) or (former and _FORMER.fullmatch(path.name) and _old(path)):
                    _remove(path)
                    removed.append(path)
    return removed


def keeps_locks(folder: Path) -> bool:
    """Whether the file system of a folder keeps locks. Raises ``OSError``."""
    if os.name != "posix":
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        return _lock(file.fileno()) is not None


def in_use(path: Path) -> bool:
    """Whether another program holds a lock on a file, as HDF5 does while it writes. Raises ``OSError``."""
    if os.name != "posix":
        return False
    with path.open("r+b") as file:
        return _lock(file.fileno()) is False


def claim_part(path: Path, folder: bool) -> tuple[Path, int | None]:
    """A new part and the handle that its lock is held by; None where nothing can be locked."""
    while True:
        part = path.with_name(f".{_short(path.name)}.gptfl-{secrets.token_hex(4)}.part")
        try:
            part.mkdir() if folder else part.touch(exist_ok=False)
        except FileExistsError:
            continue
        if os.name != "posix":
            return part, None
        try:
            handle = os.open(part, os.O_RDONLY if folder else os.O_RDWR)
        except FileNotFoundError:  # taken for a dead one's before it could be locked
            continue
        if _lock(handle) is not False and _is(part, handle):
            return part, handle
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Whether a lock was had; None where the file system keeps none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # EBADF: a folder on NFS, which locks only what is open to write.
        if error.errno in (*UNLOCKABLE, errno.EBADF):
            return None
        raise
    return True


def _is(path: Path, handle: int) -> bool:
    """Whether a path still names what is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _abandoned(path: Path) -> bool:
    """Whether nobody writes to a part any more. Raises ``OSError``."""
    if os.name != "posix":
        return _old(path)
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        locked = _lock(handle)
        return _old(path) if locked is None else locked
    finally:
        os.close(handle)


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DAY


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _short(name: str) -> str:
    """As much of a name as leaves room for what is added to it; file systems count bytes."""
    return os.fsdecode(os.fsencode(name)[:_LONGEST]).encode("utf-8", "ignore").decode()


def _exchange(one: Path, other: Path) -> bool:
    """Give two paths each other's names at one stroke; False where the system can't."""
    if sys.platform != "linux":
        return False
    here = -100  # AT_FDCWD: paths are as they are given
    with contextlib.suppress(AttributeError, OSError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(rename(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE) == 0)
    return False


ELSEWHERE = "write elsewhere (--workspace, or the option that names the file)"


def cannot_write(path: Path, error: OSError) -> ResourceError:
    """The error for a path that the system refuses to write to, with what to do about it."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ResourceError(
            f"{path} can't be written: {why}", f"free some space, or {ELSEWHERE}; what was there is kept"
        )
    if error.errno == errno.EROFS:
        return ResourceError(f"{path} can't be written: {why}", ELSEWHERE)
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return ResourceError(f"{path} can't be written: {why}", f"clear the way, or {ELSEWHERE}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ResourceError(f"{path} can't be written: {why}", f"mend its permissions, or {ELSEWHERE}")
    if error.errno == errno.ENOENT:  # missing folders are made, but not everywhere
        return ResourceError(f"{path} can't be written: no folder can be made there ({why})", ELSEWHERE)
    return ResourceError(f"{path} can't be written: {why}", ELSEWHERE)
