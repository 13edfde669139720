"""``gptfl export``."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli import console
from gptfl.cli.options import Dynamics, Workspace


def command(
    to: Annotated[
        Path,
        typer.Option(
            metavar="DIR|FILE",
            help="New folder to write, or an earlier export to replace; a FILE.csv or FILE.parquet holds scores only.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            help="gptdynamics (the released layout), parquet or csv (long tables).",
            show_default="gptdynamics, or by the suffix of FILE",
        ),
    ] = None,
    dynamics: Dynamics = None,
    workspace: Workspace = None,
) -> None:
    """Write a recording in the layout of the released recordings, or as tables for other tools.

    Example: `gptfl export --to rte-runs`, then elsewhere `gptfl import gptdynamics rte-runs`
    """
    from gptfl.interchange.export_recording import export

    with console.progress_bar() as progress:
        result = export(to, format=format, dynamics=dynamics, workspace=workspace, progress=progress)
    for text in result.notes:
        console.note(text)
    files = "" if result.files == (result.path.name,) else f": {', '.join(result.files)}"
    console.say(f"{result.path}: {result.runs} run{'' if result.runs == 1 else 's'} as {result.format}{files}")
