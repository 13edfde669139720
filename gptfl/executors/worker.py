"""One of the processes that carry out units of work, as ``crew`` starts it."""

import os
import queue
import threading
from typing import TextIO

from gptfl.executors.crew import from_line, to_line
from gptfl.plugins.work import Unit, Work, carry_out


def work() -> None:
    """Be one of the processes that ``crew`` starts: carry out what comes until nothing does."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is no word to the process that listens
    given = os.fdopen(0, encoding="utf-8", closefd=False)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(given, lines), daemon=True).start()
    _, known, _ = from_line(lines.get())
    job = Work.of_json(known)
    while True:
        _, known, arrays = from_line(lines.get())
        index = known["index"]

        def on_step(done: int, total: int, index: int = index) -> None:
            out.write(to_line("step", {"index": index, "done": done, "total": total}))
            out.flush()

        outcome = carry_out(job, Unit(index, known["settings"], arrays), on_step)
        known = {"index": outcome.index, "settings": dict(outcome.settings), "failure": outcome.failure}
        out.write(to_line("outcome", known, dict(outcome.arrays)))
        out.flush()


def _read(given: TextIO, lines: "queue.Queue[str]") -> None:
    """Pass on every line; end this process as soon as the one that started it is gone, which closes the pipe."""
    for line in given:
        lines.put(line)
    os._exit(0)
