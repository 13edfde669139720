import io
import os
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from gptfl.cli import console
from tests.cli.conftest import Outcome


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch, clock):
    written = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, width=200))
    return console._Lines(), written


def test_the_time_left_is_not_told_from_the_first_step(lines, clock):
    report, written = lines
    report("fit", 0, 100)
    clock[0] = 31.0
    report("fit", 1, 100)
    assert written.getvalue() == "fit: 1 of 100\n"
    clock[0] = 62.0
    report("fit", 2, 100)
    assert written.getvalue().splitlines()[1:] == ["fit: 2 of 100, about 50 min 38 s left"]


def test_work_that_begins_anew_is_timed_anew(lines, clock):
    report, written = lines
    for now, done in ((0, 0), (1, 50), (2, 100), (1000, 0), (1010, 10), (1020, 20)):
        clock[0] = float(now)
        report("fit", done, 100, "mse 0.5")
    assert written.getvalue().splitlines() == ["fit: 0 of 100 mse 0.5"]
    for now, done in ((1030, 30), (1040, 40), (1050, 5), (1060, 6), (1090, 9)):
        clock[0] = float(now)
        report("fit", done, 100)
    assert written.getvalue().splitlines()[1:] == [
        "fit: 30 of 100, about 1 min 10 s left",
        "fit: 6 of 100",
        "fit: 9 of 100, about 15 min 10 s left",
    ]


def test_no_row_stays_of_what_is_done(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=120))
    with console.progress_bar() as report:
        report("fit a", 1, 10)
        report("fit a", 3, 3)
        report("fit b", 1, 10)
        screen.truncate(0)
        report("fit b", 2, 10)
    assert "fit a" not in screen.getvalue()


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_wait_without_spinning_unless_told_otherwise(
    gptfl: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert gptfl("--version").code == 0
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_what_was_said_is_sent_on_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe(io.StringIO):
        sent = ""

        def flush(self) -> None:
            self.sent = self.getvalue()

    pipe = Pipe()
    monkeypatch.setattr(sys, "stdout", pipe)
    console.say("Plan")
    assert pipe.sent == ""
    with console.progress_bar():
        assert pipe.sent == "Plan\n"
