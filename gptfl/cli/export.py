"""``gptfl export``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.interchange import ExportOptions


@with_options(ExportOptions)
def command(options: ExportOptions) -> None:
    """Write a recording in the layout of the released recordings, or as tables for other tools.

    Example: `gptfl export --to rte-runs`, then elsewhere `gptfl import gptdynamics rte-runs`
    """
    from gptfl.interchange.export_recording import export_with

    with console.progress_bar() as progress:
        result = export_with(options, progress=progress)
    for text in result.notes:
        console.note(text)
    files = "" if result.files == (result.path.name,) else f": {', '.join(result.files)}"
    console.say(f"{result.path}: {result.runs} run{'' if result.runs == 1 else 's'} as {result.format}{files}")
