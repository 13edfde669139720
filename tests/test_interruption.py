"""Requests to stop: raised at once, or kept until the unit of work ends."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from gptfl import interruption
from gptfl.interruption import NOTHING_LEFT, Interrupted, check, leaving, left_by, listening, uninterrupted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of other systems differ")


@pytest.fixture(autouse=True)
def watched(heeded: None) -> Iterator[None]:
    former = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    interruption.watch()
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def test_it_is_raised_at_once() -> None:
    with pytest.raises(Interrupted, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    assert interruption.exit_code() == 143


def test_it_waits_for_the_end_of_the_outermost_unit() -> None:
    done = []

    @uninterrupted()
    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")

    with pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]
    check()


def test_a_second_request_does_not_wait() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)

    with pytest.raises(Interrupted, match="SIGHUP"), uninterrupted():
        work()


def test_one_that_was_swallowed_is_raised_before_the_next_unit() -> None:
    with contextlib.suppress(KeyboardInterrupt):  # as a callback of C does
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupted):
        check()
    check()


def test_what_the_caller_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interruption.watch()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    interruption.unwatch()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_what_is_left_is_reported_by_the_outermost_block() -> None:
    done: list[str] = []

    def work(*kept: str) -> None:
        if not kept:
            done.append("first")
            raise KeyboardInterrupt
        with leaving(lambda: f"{kept[0]} of {len(done)}"):
            work(*kept[1:])

    for kept, expected in (((), NOTHING_LEFT), (("runs",), "runs of 1"), (("stages", "runs"), "stages of 1")):
        done.clear()
        with pytest.raises(KeyboardInterrupt) as caught:
            work(*kept)
        assert left_by(caught.value) == expected


@pytest.fixture
def unwatched(watched: None) -> None:
    """A program as most are: Python's own handler, and nobody who asks between units of work."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_program_of_its_own_gets_a_ctrl_c_that_was_swallowed(unwatched: None) -> None:
    done = []

    @listening()
    def work() -> None:
        with contextlib.suppress(KeyboardInterrupt), listening():  # as a callback of C does
            signal.raise_signal(signal.SIGINT)
            done.append("not raised")
        done.append("end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    check()


def test_a_unit_of_work_in_a_program_of_its_own_is_ended_first(unwatched: None) -> None:
    done = []

    @uninterrupted()
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        with uninterrupted():
            done.append("inner")
        done.append("end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_error_in_a_unit_goes_before_and_handlers_of_others_stay(unwatched: None) -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), uninterrupted():
        work()
    check()
    signals = []
    signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
    assert signals == [signal.SIGINT]
