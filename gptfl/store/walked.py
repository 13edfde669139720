"""The files whose structure this process has walked and found safe: as long as one is the same, it isn't walked again.

Which file it is the system tells of what is open, not of a path, which may lead elsewhere by then. A file is taken for
the same while its place on the disk, its size and the times of its last changes are.
"""

import os
import threading
import time
from collections.abc import Hashable

import h5py

_STABLE = 100_000_000
"""Nanoseconds after a change from which on a further one shows in the times, which tick coarsely."""
_MOST = 4096
"""So many files are remembered."""
_KNOWN: dict[Hashable, int] = {}
_GUARD = threading.Lock()


def identity(file: h5py.File) -> tuple[int, ...] | None:
    """What tells the file on disk that is open from any other and from what it was; None where that can't be told."""
    try:
        found = os.fstat(file.id.get_vfd_handle())
    except (OSError, RuntimeError, TypeError, ValueError, NotImplementedError):  # not on disk
        return None
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if time.time_ns() - changed < _STABLE:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def recall(key: Hashable) -> int | None:
    """What was remembered under a key; None for nothing."""
    return _KNOWN.get(key)


def remember(key: Hashable, size: int) -> None:
    """Remember that a file is safe, and what it counts as."""
    with _GUARD:
        _KNOWN[key] = size
        while len(_KNOWN) > _MOST:
            del _KNOWN[next(iter(_KNOWN))]
