"""What is wrong with an open file and is told last: what else is wrong may tell more.

A text that isn't that of its digest may have been changed by accident, or belong to a file that was made to do harm;
the line about what it breaks says more than that it was changed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import h5py

from gptfl.errors import DataError

_PROBLEMS: dict[tuple[str, int], DataError] = {}
"""By the names of the open files and the threads that read them."""


def defer(found: h5py.Group | h5py.Dataset, problem: DataError) -> None:
    """Keep what is wrong with the file of a group or an array until the end of ``raise_deferred``."""
    _PROBLEMS.setdefault(_key(found.file), problem)


@contextmanager
def raise_deferred(file: h5py.File) -> Iterator[None]:
    """Raise at the end of the block, if it ends without an exception, as ``check_unchanged`` does."""
    key = _key(file)
    _PROBLEMS.pop(key, None)
    try:
        yield
        check_unchanged(file)
    finally:
        _PROBLEMS.pop(key, None)


def check_unchanged(file: h5py.File) -> None:
    """Raise ``DataError`` where anything that was read from an open file so far doesn't agree with its digest."""
    problem = _PROBLEMS.pop(_key(file), None)
    if problem is not None:
        raise problem


def _key(file: h5py.File) -> tuple[str, int]:
    return file.filename, threading.get_ident()
