"""Progress of Python's functions in a terminal."""

import io
import sys
from typing import Any

import pytest

from gptfl.core import silent
from gptfl.core.notebook import usual_progress
from gptfl.core.terminal import CLEAR, TerminalLine, is_shown
from gptfl.options.signature import reports


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in the test itself, for pytest sets stderr before each phase of one."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    return stream


def test_one_line_is_written_over_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    monkeypatch.setattr("gptfl.core.terminal.EVERY", 0.0)
    progress = usual_progress()
    assert isinstance(progress, TerminalLine)
    progress("fit", 1, 3)
    progress("fit", 2, 3, "a \x1b[31mlong\nname of a part")
    progress("fit", 3, 3)
    first, second, last = terminal.getvalue().split(CLEAR)[1:]
    assert (first, last) == ("fit 1/3", "")
    assert second.startswith("fit 2/3 a ")
    assert len(second) <= 19
    assert not {"\x1b", "\n"} & set(second)
    progress("fit", 3, 3)
    assert terminal.getvalue().endswith(CLEAR)
    assert terminal.getvalue().count(CLEAR) == 3


def test_it_is_written_now_and_then_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    monkeypatch.setattr("gptfl.core.terminal.EVERY", 1e9)
    progress = TerminalLine()
    for done in range(100):
        progress("fit", done, 100)
    assert terminal.getvalue() == f"{CLEAR}fit 0/100"


def test_a_function_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)

    @reports
    def work(*, progress: Any = silent) -> None:
        progress("fit", 1, 3)
        raise KeyError("lost")

    with pytest.raises(KeyError):
        work()
    assert terminal.getvalue() == f"{CLEAR}fit 1/3{CLEAR}"


def test_files_pipes_and_plain_terminals_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    assert is_shown()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_shown()
    monkeypatch.setenv("TERM", "xterm")
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert not is_shown()
        assert usual_progress() is silent
    terminal.close()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert not is_shown()
