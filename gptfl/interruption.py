"""Ctrl-C and other requests to stop: raised at once, except where an exception would be lost.

Code that C calls back (a hook of autograd, a file that HDF5 writes through Python) can't raise: the exception is
printed, or turned into another, and the work goes on. Such a unit of work runs ``uninterrupted``. The request is kept
until the unit ends, and raised then.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a command to stop: Ctrl-C, the system or a batch queue, and a terminal that closes."""
NOTHING_LEFT = "nothing half-written was left"


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to stop."""


class _State:
    """What was asked of this process; only its main thread, in which signals are handled, looks at it."""

    process = 0
    units = 0
    pending: int | None = None
    """The signal that wasn't seen to yet."""
    last: int | None = None


def watch() -> None:
    """Turn the signals that ask to stop into ``Interrupted``, except those that the caller ignores (as nohup does)."""
    _State.process = os.getpid()
    _State.pending, _State.last, _State.units = None, None, 0
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def unwatch() -> None:
    """Let the signals end the process at once and without a word: nothing is left to be told."""
    for number in SIGNALS:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


def check() -> None:
    """Raise ``Interrupted`` where a request to stop wasn't seen to; called between units of work."""
    number = _State.pending
    if number is not None and threading.current_thread() is threading.main_thread():
        _State.pending = None
        raise Interrupted(signal.Signals(number).name)


def exit_code() -> int:
    """What a command exits with that was asked to stop: 128 and the signal's number, as a shell has it."""
    return 128 + (_State.last or signal.SIGINT)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A unit of work in which no request to stop is raised; it is at its end. A second request is raised at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with listening():
        _State.units += 1
        try:
            yield
        finally:
            _State.units -= 1
        if _State.units == 0:
            check()


@contextmanager
def listening() -> Iterator[None]:
    """Work in which a Ctrl-C could be lost, in a program that doesn't ``watch``: where it is, it is raised at the end.

    A program that has a handler of its own keeps it.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    _State.pending = None
    signal.signal(signal.SIGINT, _on_ctrl_c)
    try:
        yield
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _State.pending = None


@contextmanager
def leaving(describe: Callable[[], str]) -> Iterator[None]:
    """Work that is kept bit by bit. Where an exception ends it, ``describe`` says what was kept by then: see ``left_by``."""
    try:
        yield
    except BaseException as stop:
        stop.add_note(describe())
        raise


def left_by(stop: BaseException) -> str:
    """What the work that an exception ended has left; the outermost block ``leaving`` knows best."""
    notes: Sequence[str] = getattr(stop, "__notes__", ())
    return notes[-1] if notes else NOTHING_LEFT


def _on_ctrl_c(number: int, frame: FrameType | None) -> None:
    again = _State.pending is not None
    _State.pending = number
    if _State.units == 0 or again:
        raise Interrupted(signal.Signals(number).name)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _State.process:
        # A forked worker inherits the handler, and is to end as it would without.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    again = _State.pending is not None
    # Kept until it is seen to: were the exception lost, the next unit of work would not be begun.
    _State.pending = _State.last = number
    if _State.units == 0 or again:
        raise Interrupted(signal.Signals(number).name)
