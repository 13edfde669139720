"""Progress in a notebook, and none in files and pipes."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gptfl.core import silent
from gptfl.core.notebook import NotebookBars, usual_progress
from gptfl.errors import UsageError
from gptfl.options.signature import reports


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands in the output of a cell, one after another."""
    shown: list[str] = []

    class Handle:
        def update(self, what: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(what["text/plain"])

    def display(what: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        assert what["text/html"]
        shown.append(what["text/plain"])
        return Handle()

    module: Any = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shown


def test_a_bar_is_drawn_and_taken_away(cell: list[str]) -> None:
    progress = usual_progress()
    for done in range(1, 4):
        progress("fit", done, 3, "<b>")
    assert cell[0] == "fit 1/3 <b>"
    assert cell[-1] == ""
    progress("fit", 1, 2)
    assert cell[-1] == "fit 1/2"


def test_there_is_none_outside_of_a_notebook_and_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in (None, SimpleNamespace()):  # no IPython at work, or one in a terminal
        module: Any = ModuleType("IPython")
        module.get_ipython = lambda shell=shell: shell
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert usual_progress() is silent
    monkeypatch.delitem(sys.modules, "IPython")
    assert usual_progress() is silent


def test_functions_show_it_unless_they_are_reported_how(cell: list[str]) -> None:
    @reports
    def work(*, progress: Any = silent) -> Any:
        return progress

    assert isinstance(work(), NotebookBars)
    assert isinstance(work(progress=None), NotebookBars)
    assert work(progress=silent) is silent
    with pytest.raises(UsageError, match="work: progress is 3: give a function, or leave it out"):
        work(progress=3)


def test_what_a_failure_leaves_is_taken_away(cell: list[str]) -> None:
    @reports
    def work(*, progress: Any = silent) -> None:
        progress("fit", 1, 3)
        raise KeyError("lost")

    with pytest.raises(KeyError):
        work()
    assert cell == ["fit 1/3", ""]
