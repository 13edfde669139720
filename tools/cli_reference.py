"""Writes docs/cli.md from the commands themselves: ``python tools/cli_reference.py``."""

import inspect
import re
from pathlib import Path
from typing import Any

import typer

from gptfl.cli.adapter import CONFIG, PRINT_CONFIG
from gptfl.cli.main import app

NOT_LISTED = ("help", "install_completion", "show_completion", CONFIG, PRINT_CONFIG)
TARGET = Path(__file__).parents[1] / "docs" / "cli.md"


def reference() -> str:
    """The page: every command with its options, grouped as in its help."""
    root: Any = typer.main.get_command(app)
    lines = [
        "# Command line",
        "",
        "Made from the commands themselves by `python tools/cli_reference.py`; a test holds it against them.",
        "",
        "Results go to standard output, progress, notes and errors to standard error. Exit codes: 0 done, "
        "1 a bug in gptfl (with a traceback), 2 wrong usage, 3 data that is missing or does not fit, 4 a plugin or "
        "an unknown name, 5 disk, memory, network, device or another process, 130 interrupted by Ctrl-C, 143 by SIGTERM "
        "and 129 by SIGHUP; `gptfl check` exits with 1 and 6 by what it finds, too. Results are printed before anything is written. Where a file that was asked for, or that a "
        "command is for, then can't be, the command exits with 5; of a picture or kept fit that comes beside it a note "
        "tells. Tables in a pipe or file have every row on one line.",
        "",
        "A command that is given no recording takes the one in the workspace that was made last, and what was made for it; "
        "where there are several, it says which it took.",
        "",
        "Every command but `unlock` also takes its options from a file: `--config FILE`, .toml or .json, names them as "
        "they are typed, without the hyphens in front. What is typed, or set in the environment, goes before the file, "
        "and the file before defaults. `--print-config` prints the options as such a file and does nothing else.",
        "",
        "An option may be given several times where its help says so; any other is refused when it is given twice.",
        "",
        "Shell completion: `gptfl --install-completion`. `GPTFL_WORKSPACE` sets the workspace, `GPTFL_CACHE` the "
        "folder for converted and built models.",
    ]
    for name, command in root.commands.items():
        lines += ["", f"## gptfl {name}", "", inspect.cleandoc(command.help or "").replace("\b", ""), ""]
        panels: dict[str, list[Any]] = {}
        for parameter in command.params:
            if parameter.name not in NOT_LISTED:
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
        for panel, parameters in panels.items():
            lines += [f"| {panel} | |", "| --- | --- |", *(row(p) for p in parameters), ""]
        lines.pop()
    return "\n".join(lines) + "\n"


def row(parameter: Any) -> str:
    """One option as a table row: its names, what it does, its default."""
    if parameter.param_type_name == "argument":
        names = f"`{(parameter.metavar or parameter.name).upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if parameter.metavar:
            names += " " + re.sub(r"([|\[])", r"\\\1", parameter.metavar)
    text = (parameter.help or "").replace("|", "\\|")
    if getattr(parameter, "required", False):
        return f"| {names} | {text} Required. |"
    shown = getattr(parameter, "show_default", True)
    default = shown if isinstance(shown, str) else parameter.default if shown else None
    if default is None or default is False or callable(default):
        return f"| {names} | {text} |"
    return f"| {names} | {text} Default: {default}. |"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    print(f"wrote {TARGET}")
