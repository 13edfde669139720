"""Progress in a notebook: a bar for each piece of work, shown while it lasts."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from gptfl.core.terminal import TerminalLine, is_shown
from gptfl.core.values import Progress, silent

EVERY = 0.2
"""Seconds between two updates of a bar, at the least."""


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """``usual_progress`` for one piece of work: what is left of it, as where the work fails, is taken away after it."""
    progress = usual_progress()
    try:
        yield progress
    finally:
        if isinstance(progress, NotebookBars | TerminalLine):
            progress.close()


def usual_progress() -> Progress:
    """What shows progress where nobody said what does: bars in a notebook, a line in a terminal, nothing elsewhere."""
    module = sys.modules.get("IPython")
    find: Callable[[], Any] | None = getattr(module, "get_ipython", None)
    shell = None if find is None else find()
    # A shell in a terminal has no kernel, and nothing to draw in.
    if getattr(shell, "kernel", None) is not None:
        return NotebookBars()
    return TerminalLine() if is_shown() else silent


class NotebookBars:
    """A progress callback that draws in the output of a notebook's cell. What is finished is taken away."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._last: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if what in self._handles and done < total and now - self._last[what] < EVERY:
            return
        self._last[what] = now
        shown = {"text/plain": f"{what} {done}/{total} {note}".rstrip(), "text/html": _bar(what, done, total, note)}
        if what not in self._handles:
            display = sys.modules["IPython"].display.display
            self._handles[what] = display(shown, raw=True, display_id=True)
        elif done < total:
            self._handles[what].update(shown, raw=True)
        if done >= total:
            self._take_away(what)

    def close(self) -> None:
        """Take away what isn't finished."""
        for what in list(self._handles):
            self._take_away(what)

    def _take_away(self, what: str) -> None:
        handle = self._handles.pop(what)
        if handle is not None:
            handle.update({"text/plain": "", "text/html": ""}, raw=True)


def _bar(what: str, done: int, total: int, note: str) -> str:
    text = escape(f"{done} of {total} {note}".rstrip())
    return f'{escape(what)} <progress value="{done}" max="{max(total, 1)}"></progress> {text}'
