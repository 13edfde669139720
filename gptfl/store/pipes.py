"""Opens what is read once from its beginning to its end: plain files, pipes and devices.

A pipe that nobody writes to keeps its reader waiting, and a terminal until something is typed. That is told, once.
"""

import io
import os
import select
import stat
import sys
import warnings
from pathlib import Path
from typing import IO, Any

from gptfl.errors import GptflWarning

PATIENCE = 2.0
"""Seconds without a word."""


def open_stream(path: Path) -> IO[bytes]:
    """A file, pipe or device to read bytes from. Raises ``OSError``."""
    mode = path.stat().st_mode
    if os.name != "posix" or not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return path.open("rb")
    # Linux then opens a pipe that nobody writes to yet. Other systems would take it for an empty one.
    at_once = os.O_NONBLOCK if sys.platform == "linux" else 0
    handle = os.open(path, os.O_RDONLY | os.O_NOCTTY | at_once)
    return io.BufferedReader(_Waiting(handle, f"{'pipe' if stat.S_ISFIFO(mode) else 'device'} {path}"))


class _Waiting(io.RawIOBase):
    """The bytes of a pipe or a device; says so where it has to wait for them."""

    def __init__(self, handle: int, what: str) -> None:
        self.handle, self.what = handle, what
        self.announced = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are, at least one; 0 at the end."""
        while True:
            self._wait()
            try:
                return os.readv(self.handle, [buffer])
            except BlockingIOError:  # another reader was faster
                continue

    def _wait(self) -> None:
        """Return when there is something to read, or the end."""
        if not self.announced and not select.select([self.handle], [], [], PATIENCE)[0]:
            self.announced = True
            text = f"waiting for what the {self.what} has to give (Ctrl-C ends that)"
            warnings.warn(text, GptflWarning, stacklevel=2)
        select.select([self.handle], [], [])

    def close(self) -> None:
        """Close the handle, once."""
        if not self.closed:
            os.close(self.handle)
        super().close()
