"""The page of a result alone, which ``--html`` asks for."""

import shlex
from pathlib import Path
from typing import Any

from gptfl.cli import console
from gptfl.options.files import typed


def page_target(options: Any) -> Path | None:
    """Where the page goes, checked before any work; None where none is asked for.

    Raises ``UsageError`` or ``DataError`` where it can't be written there.
    """
    if options.html is None:
        return None
    from gptfl.core import user_path
    from gptfl.report.page.sections import check_page

    path = user_path(options.html)
    check_page(path, "--html")
    return path


def write_result_page(result: Any, options: Any, command: str, path: Path | None, is_quiet: bool, **which: Any) -> None:
    """Write the page of a result, if one is asked for, and say where.

    Args:
        result: what the command came to.
        options: those of the command, from which the page says what made it.
        command: its name.
        path: of the page, None for none.
        is_quiet: whether stdout belongs to a program, so that the place is told beside it.
        which: of a ranking, which rows are shown.

    Raises ``ResourceError`` where it can't be written.
    """
    if path is None:
        return
    from gptfl.report.page.sections import write_section

    words = shlex.join(("gptfl", command, *typed(options)))
    write_section(result, path, words, **which)
    if is_quiet:
        console.note(f"page: {path}")
    else:
        console.say_paths(page=path)
