"""Makes one HTML page of a recording, its simulator and what they say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.api.page_parts import gathered, opened_for_page
from gptfl.core import Progress, silent, user_path
from gptfl.core.display import Displayed
from gptfl.errors import UsageError
from gptfl.options.base import make
from gptfl.options.report import ReportOptions
from gptfl.options.signature import takes
from gptfl.report.page.render import write_page
from gptfl.store.outputs import check_plain_target


@dataclass(frozen=True, slots=True)
class Report(Displayed):
    """The page that was written: what it holds, by part, and what isn't there with the command that makes it."""

    path: Path
    size: int
    parts: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


@takes(ReportOptions)
def write_report(
    output: str | Path | None = None, *groups: object, progress: Progress = silent, **options: Any
) -> Report:
    """Make one self-contained HTML page of a recording: what-if switches, influences, suspects and trust.

    Args:
        output: the file to write, by default report.html in the workspace.
        groups: options in groups, such as ``gptfl.options.simulation.SimulatorOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl report`` (docs/cli.md) by name.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where there is no recording, or files don't belong together.
    """
    return report_with(make(ReportOptions, *groups, output=output, **options), progress=progress)


def report_with(options: ReportOptions, *, progress: Progress = silent) -> Report:
    """``write_report`` with all options in one object. Raises as it does, but for ``TypeError``."""
    opened = opened_for_page(options)
    target = opened[0].workspace.root / "report.html" if options.output is None else user_path(options.output)
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {target} is not an .html file", "end it in .html")
    check_plain_target(target, "--output")
    found = gathered(options, opened, progress)
    parts = found.parts
    write_page(parts, target)
    held = {
        "what if": parts.form is not None,
        "who moves whom": parts.matrix is not None,
        "suspects": bool(parts.suspects),
        "comparison": parts.comparison is not None,
        "held-out runs": parts.held_out is not None,
        "verifications": bool(parts.verifications),
    }
    there = tuple(name for name, is_there in held.items() if is_there)
    return Report(target, target.stat().st_size, there, found.missing, tuple(parts.notes))
