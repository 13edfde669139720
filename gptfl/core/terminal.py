"""Progress of Python's functions in a terminal: one line on stderr, written over itself and taken away at the end."""

import os
import shutil
import sys
import time

from gptfl.errors import one_line

EVERY = 0.2
"""Seconds between two writings of the line, at the least."""
CLEAR = "\r\x1b[K"
"""To the beginning of the line, and nothing after it."""


def is_shown() -> bool:
    """Whether stderr is a terminal that can write over a line."""
    stream = sys.stderr
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


class TerminalLine:
    """A progress callback that writes one line on stderr."""

    def __init__(self) -> None:
        self._last = 0.0
        self._is_there = False

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if done >= total:
            self.close()
            return
        now = time.monotonic()
        if self._is_there and now - self._last < EVERY:
            return
        self._last, self._is_there = now, True
        # One column is left free: a line that is full goes on in the next one.
        width = max(shutil.get_terminal_size().columns - 1, 1)
        self._write(CLEAR + one_line(f"{what} {done}/{total} {note}").rstrip()[:width])

    def close(self) -> None:
        """Take the line away."""
        if self._is_there:
            self._is_there = False
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
