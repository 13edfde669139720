"""``gptfl unlock``."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli import console


def command(
    file: Annotated[Path, typer.Argument(help="A recording, features, simulator or predictions file.")],
) -> None:
    """Make a file readable again that another program had open to write when it was killed.

    HDF5 marks such a file, and refuses to read it. The mark is cleared in a copy; it takes the file's name when all of it could be read.

    Example: `gptfl unlock gptfl-work/rte-pythia-410m.dynamics.h5`
    """
    from gptfl.recording.unlock import unlock

    found = unlock(file)
    if found.changed:
        console.say(f"{found.path}: can be read again; what was in it is unchanged")
    else:
        console.say(f"{found.path}: can be read as it is; nothing was changed")
