"""What a job does: it carries out its units, and goes on from those that lack where it is begun again."""

import time
from pathlib import Path
from typing import Any

from gptfl.plugins import carry_out
from gptfl_slurm.files import Folder

PAUSE = 1.0
"""Seconds between two words on how far a unit is."""


class CarryOut:
    """Called by a job with nothing but names: of the folder, and of the units in it."""

    def __init__(self, folder: str, names: list[str]) -> None:
        self.folder = folder
        self.names = names

    def __call__(self) -> None:
        """Carry out those units that are still asked for and have no outcome."""
        folder = Folder(Path(self.folder))
        work = folder.work()
        for name in self.names:
            unit = folder.unit(name)
            if unit is None or folder.outcome(name) is not None:
                continue
            last = time.monotonic()

            def on_step(done: int, total: int, name: str = name) -> None:
                nonlocal last
                if time.monotonic() - last >= PAUSE:
                    last = time.monotonic()
                    folder.say(name, done, total)

            folder.keep(name, carry_out(work, unit, on_step))

    def checkpoint(self) -> Any:
        """What submitit calls where the job's time is over or it is preempted: it is queued again, as it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
