"""What the commands share: consoles, progress bars, and how an error reaches the terminal."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from gptfl import interruption
from gptfl.errors import UNSAFE, NotKept, harmless, one_line

if TYPE_CHECKING:
    from gptfl.core import Progress as ProgressCallback
    from gptfl.plugins.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")


class _Console(Console):
    """Prints nothing that a terminal would obey but what rich itself writes: a recording may be anyone's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not UNSAFE.search(segment.text):
                yield segment
            else:
                yield Segment(harmless(segment.text, kept="\t\n"), segment.style)


# Without emoji, since an id such as note:bug:1 would lose its middle.
out = _Console(highlight=False, emoji=False)
err = _Console(stderr=True, highlight=False, emoji=False)


def say(text: str = "") -> None:
    """Print text to stdout: no markup, no wrapping, tabs kept for cut and awk, nothing that a terminal would obey."""
    sys.stdout.write(harmless(text, kept="\t\n") + "\n")


def flush() -> None:
    """Send on what was printed, for whoever reads it from a pipe while the command goes on."""
    sys.stdout.flush()


def plain(text: str) -> Text:
    """Text for a table cell, in which brackets are not read as markup."""
    return Text(text)


def note(text: str) -> None:
    """Tell something beside the result, on stderr, so that piped output stays clean."""
    err.print(f"note: {one_line(text)}", markup=False, soft_wrap=True, style="dim")


def warn(text: str) -> None:
    """Tell something that the user should mend, on stderr."""
    err.print(f"warning: {one_line(text)}", markup=False, soft_wrap=True, style="yellow")


def registry() -> "Registry":
    """Every task, encoder, metric, estimator and executor that commands find by name."""
    from gptfl.plugins.registry import get_registry

    return get_registry()


def warn_of_problems() -> None:
    """Tell, once a command, which plugins could not be used."""
    for problem in registry().problems:
        warn(f"plugin {problem.owner}: {problem.reason}")


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    from gptfl.core.texts import json_text

    sys.stdout.write(json_text(value, indent=2) + "\n")


class _Rate(ProgressColumn):
    """Units a second, or seconds a unit where that reads better."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("-- /s", style="progress.data.speed")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="progress.data.speed")


@contextlib.contextmanager
def progress_bar() -> "Iterator[ProgressCallback]":
    """A callback for the stages, shown as bars with rate and time left while it is in use.

    Where stderr is no terminal, as in a log, a plain line every half a minute takes their place.
    """
    # Whoever reads stdout from a pipe has what was said before the work, such as a plan.
    flush()
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int, note: str = "") -> None:
            interruption.check()
            if what not in tasks:
                # What was there before is no part of the rate.
                tasks[what] = bars.add_task(what, total=total, completed=done, note=note)
            bars.update(tasks[what], completed=done, total=total, note=note)
            if done >= total:
                bars.remove_task(tasks.pop(what))

        yield report


@dataclass
class _Pace:
    """When a piece of work began, at which count, and what has been reported since."""

    began: float
    first: int
    done: int
    reports: int = 0


class _Lines:
    """Reports progress as a line now and then."""

    EVERY = 30.0
    FEWEST_REPORTS, FEWEST_SECONDS = 2, 2.0
    """The time left is told after so many reports and seconds: a first step also warms up."""

    def __init__(self) -> None:
        self.paces: dict[str, _Pace] = {}
        self.last = time.monotonic()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        interruption.check()
        now = time.monotonic()
        pace = self.paces.get(what)
        if pace is None or done < pace.done:
            pace = self.paces[what] = _Pace(now, done, done)
        else:
            pace.done = done
            pace.reports += 1
        if done >= total:
            del self.paces[what]
            return
        if now - self.last < self.EVERY:
            return
        self.last = now
        passed, advance = now - pace.began, done - pace.first
        known = advance > 0 and pace.reports >= self.FEWEST_REPORTS and passed >= self.FEWEST_SECONDS
        until = f", about {human_seconds(passed / advance * (total - done))} left" if known else ""
        err.print(f"{what}: {done} of {total}{until} {note}".rstrip(), markup=False, soft_wrap=True)


def outcome(stage: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[R, NotKept | None]:
    """What a stage came to, and the error to end with where some of it couldn't be written."""
    try:
        return stage(*args, **kwargs), None
    except NotKept as error:
        return error.result, error


def show_unkept(unkept: tuple[str, ...], error: NotKept | None) -> None:
    """Print, after the result, what of it couldn't be written. Raises ``NotKept`` where an option named that."""
    for text in unkept:
        note(text)
    if error is not None:
        # The result is out before the error, also where both go to one place.
        sys.stdout.flush()
        raise error


def human_count(count: float) -> str:
    """1234567 -> "1.2M"."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 1000:
            return f"{count:.0f}" if not unit else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f}P"


def human_seconds(seconds: float) -> str:
    """75 -> "1 min 15 s"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def show_pairs(rows: Mapping[str, str]) -> None:
    """Print labels and values in two aligned columns."""
    width = max(map(len, rows), default=0)
    for label, value in rows.items():
        say(f"  {label:<{width}}  {value}")


def say_paths(**paths: Path | None) -> None:
    """Print where each file lies that was written, by what it is."""
    for what, path in paths.items():
        if path is not None:
            say(f"{what}: {path}")


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
