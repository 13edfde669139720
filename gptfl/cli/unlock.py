"""``gptfl unlock``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.common import UnlockOptions


@with_options(UnlockOptions)
def command(options: UnlockOptions) -> None:
    """Make a file readable again that another program had open to write when it was killed.

    HDF5 marks such a file, and refuses to read it. The mark is cleared in a copy; it takes the file's name when all of it could be read.

    Example: `gptfl unlock gptfl-work/rte-pythia-410m.dynamics.h5`
    """
    from gptfl.recording.unlock import unlock

    found = unlock(options.file)
    if found.changed:
        console.say(f"{found.path}: can be read again; what was in it is unchanged")
    else:
        console.say(f"{found.path}: can be read as it is; nothing was changed")
