"""Progress in a notebook: a bar for each piece of work, shown while it lasts."""

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from gptfl.core.values import Progress, silent

EVERY = 0.2
"""Seconds between two updates of a bar, at the least."""


def usual_progress() -> Progress:
    """What shows progress where nobody said what does: bars in a notebook, and nothing elsewhere."""
    module = sys.modules.get("IPython")
    find: Callable[[], Any] | None = getattr(module, "get_ipython", None)
    shell = None if find is None else find()
    # A shell in a terminal has no kernel, and nothing to draw in.
    return silent if getattr(shell, "kernel", None) is None else NotebookBars()


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
            handle = self._handles.pop(what)
            if handle is not None:
                handle.update({"text/plain": "", "text/html": ""}, raw=True)


def _bar(what: str, done: int, total: int, note: str) -> str:
    text = escape(f"{done} of {total} {note}".rstrip())
    return f'{escape(what)} <progress value="{done}" max="{max(total, 1)}"></progress> {text}'
