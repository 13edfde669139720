"""Standard streams that never fail a command: what can't be printed is told at the end, once."""

import errno
import io
import os
import select
import sys
from typing import Any

STREAMS = ("stdin", "stdout", "stderr")


class Sink(io.RawIOBase):
    """Writes to a file descriptor; from the first failure on, what comes is dropped and the reason kept.

    A reader that leaves (``gptfl inspect … | head``) is no failure: what it didn't want is dropped without a word.
    """

    def __init__(self, descriptor: int, closed: bool = False) -> None:
        self.descriptor = descriptor
        self.closed_before = closed
        self.failure: OSError | None = None
        self.left = False

    def write(self, data: Any) -> int:
        """All of the data is taken, whatever becomes of it."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        if self.closed_before and size:
            self.failure = OSError(errno.EBADF, "it is closed")
        while len(rest) and self.failure is None and not self.left:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self.descriptor], [])
            except OSError as error:
                self.left = error.errno == errno.EPIPE
                self.failure = None if self.left else error
        return size

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self.descriptor

    def isatty(self) -> bool:
        """Whether a terminal shows what is written."""
        return os.isatty(self.descriptor)


def hold_places() -> None:
    """Put something in the place of standard streams that are closed.

    The next file opened would take the number of one, and what is printed would land in it.
    """
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
            if getattr(sys, name) is None and name == "stdin":
                sys.stdin = open(number, closefd=False)  # noqa: SIM115


def outlast() -> tuple[Sink, Sink]:
    """Put streams that never fail in the place of stdout and stderr; what couldn't be printed is in the first sink.

    A terminal that can't show ρ shows ? instead.
    """
    sinks = []
    for number, name in enumerate(STREAMS):
        if name == "stdin":
            continue
        former = getattr(sys, name)
        if former is not None:
            former.flush()
        sink = Sink(number, closed=former is None)
        stream = io.TextIOWrapper(
            io.BufferedWriter(sink),
            encoding=getattr(former, "encoding", None) or "utf-8",
            errors="replace",
            line_buffering=name == "stderr" or sink.isatty(),
        )
        setattr(sys, name, stream)
        sinks.append(sink)
    return sinks[0], sinks[1]
