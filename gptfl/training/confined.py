"""Calls a function of unknown manners in a child process, with bounds on its time and memory.

A chat template is a program that anyone may have written. Its sandbox keeps it from files and from Python, but not from
taking all memory or no end.
"""

import gc
import json
import os
import signal
import struct
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECONDS = 2
"""Of the processor, for one call."""
MEMORY = 256 * 2**20
"""Bytes beyond what the process had when the child was made."""
MAX_TEXT = 4 * 2**20
"""Characters of what is returned."""
_SIZE = struct.Struct("<Q")
_PARALLEL = "TOKENIZERS_PARALLELISM"


class CallError(Exception):
    """The function raised something; the text says what."""


class ExceededError(Exception):
    """The call took more than it may; the text says of what."""


class Confined:
    """A function of values that JSON has, which returns a text, called in a child that is made for the first call.

    Calls raise ``CallError`` and ``ExceededError``. Where a process can't have copies of itself made (on Windows), the
    function is called in it, without bounds on time and memory.
    """

    def __init__(self, function: Callable[..., str]) -> None:
        self.function = function
        self._guard = threading.Lock()
        self._child: _Child | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, *values: Any) -> str:
        """What the function returns."""
        if not hasattr(os, "fork"):
            return _within(_called(self.function, values))
        with self._guard:
            # A copy of this process has none of its children.
            if self._child is None or self._child.parent != os.getpid():
                self._child = _Child(self.function)
            try:
                return _within(self._child.request(values))
            except BaseException as error:
                # Whatever it answers later would be taken for the answer to the next call.
                if not isinstance(error, CallError):
                    self._child.end()
                    self._child = None
                raise


def _called(function: Callable[..., str], values: Any) -> tuple[bool, str]:
    """Whether a call went well, and what it returned or raised."""
    try:
        return True, function(*values)
    except MemoryError:
        return False, "MemoryError"
    except Exception as error:
        said = " ".join(str(error).split())
        return False, f"{type(error).__name__}{': ' if said else ''}{said[:MAX_TEXT]}"


def _within(answer: tuple[bool, str]) -> str:
    went_well, text = answer
    if text == "MemoryError" and not went_well:
        raise ExceededError(f"takes more than {MEMORY >> 20} MiB of memory")
    if not went_well:
        raise CallError(text)
    if len(text) > MAX_TEXT:
        raise ExceededError(f"makes more than {MAX_TEXT:,} characters")
    return text


class _Child:
    """The child, which answers until its input ends."""

    def __init__(self, function: Callable[..., str]) -> None:
        self.parent = os.getpid()
        (child_reads, self.writes), (self.reads, child_writes) = os.pipe(), os.pipe()
        with _quiet_fork():
            self.id = os.fork()
        if self.id == 0:
            _serve(function, child_reads, child_writes)
        os.close(child_reads)
        os.close(child_writes)
        self.end = weakref.finalize(self, _end, self.parent, self.id, self.writes, self.reads)

    def request(self, values: Any) -> tuple[bool, str]:
        """Whether the call went well, and what it returned or raised. Raises ``ExceededError`` where the child ends."""
        with suppress(BrokenPipeError):
            _send(self.writes, json.dumps(values).encode())
        answer = _receive(self.reads)
        if answer is None:
            raise ExceededError(f"takes more than {SECONDS} s or {MEMORY >> 20} MiB of memory")
        return answer[:1] == b"1", answer[1:].decode("utf-8", "surrogatepass")


def _end(parent: int, child: int, *handles: int) -> None:
    """End the child. One that was inherited is another process's."""
    for handle in handles:
        with suppress(OSError):
            os.close(handle)
    if os.getpid() == parent:
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@contextmanager
def _quiet_fork() -> Iterator[None]:
    """Within, neither Python nor tokenizers warn that threads aren't copied: the child uses none of them."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false" if before is None else before
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        if before is None:
            del os.environ[_PARALLEL]


def _serve(function: Callable[..., str], reads: int, writes: int) -> None:
    """Answer calls; never returns."""
    try:
        gc.freeze()  # nothing of the parent's is to be finalised here
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        # Locks of the parent's files, and pipes that someone waits to see closed.
        low, high = sorted((reads, writes))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            if stream not in (low, high):
                os.dup2(null, stream)
        os.closerange(3, max(3, low))
        os.closerange(max(3, low + 1), high)
        os.closerange(max(3, high + 1), os.sysconf("SC_OPEN_MAX"))
        _bound_memory()
        while (request := _receive(reads)) is not None:
            _bound_time()
            went_well, text = _called(function, json.loads(request))
            if went_well and len(text) > MAX_TEXT:
                text = text[: MAX_TEXT + 1]
            _send(writes, (b"1" if went_well else b"0") + text.encode("utf-8", "surrogatepass"))
    finally:
        os._exit(0)


def _bound_memory() -> None:
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Other systems neither tell what a process has nor hold it to a bound.
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _bound_time() -> None:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, hard))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)


def _send(handle: int, data: bytes) -> None:
    left = memoryview(_SIZE.pack(len(data)) + data)
    while left:
        left = left[os.write(handle, left) :]


def _receive(handle: int) -> bytes | None:
    """What was sent; None where the other end is closed."""
    head = _read(handle, _SIZE.size)
    return None if head is None else _read(handle, _SIZE.unpack(head)[0])


def _read(handle: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(handle, min(size, 2**20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
