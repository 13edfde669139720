"""Jobs as submitit submits them: at most so many at a time, which of them are still there, and their end."""

import contextlib
import getpass
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptfl.plugins import ResourceError, UsageError
from gptfl_slurm.job import CarryOut

SQUEUE = ("squeue", "--noheader", "--array", "--format=%i")
FAREWELL = 20.0
GLANCE = 0.05
"""Seconds that ending jobs are waited for, and between two looks at processes of this machine."""
ASKING = 60
"""Seconds after which a question to Slurm is taken to be in vain."""


class Queue:
    """Submits jobs to a cluster: Slurm's, or submitit's own ``local`` one, which starts processes."""

    def __init__(self, cluster: str, logs: Path, limits: Mapping[str, Any], who: str) -> None:
        import submitit

        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ResourceError(
                f"{who}: this machine has no sbatch", "run gptfl where Slurm's commands are, or try cluster=local"
            )
        self.cluster, self.who, self.logs = cluster, who, logs
        self.executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
        try:
            self.executor.update_parameters(**limits)
        except (NameError, ValueError, TypeError) as error:
            raise UsageError(f"{who}: {str(error).splitlines()[0]}", "see sbatch --help") from error

    def submit(self, folder: Path, groups: Sequence[Sequence[str]]) -> list[Any]:
        """Submit a job for each group of units: one array where there are several.

        Raises ``ResourceError`` where Slurm refuses.
        """
        from submitit.core.utils import FailedJobError

        try:
            with self.executor.batch():
                return [self.executor.submit(CarryOut(str(folder), list(names))) for names in groups]
        except (FailedJobError, subprocess.CalledProcessError, OSError) as error:
            said = getattr(error, "stderr", None) or str(error)
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            last = (text.strip().splitlines() or [type(error).__name__])[-1]
            raise ResourceError(f"{self.who}: Slurm takes no job: {last}", "see sinfo and sbatch --help") from error

    def ended(self, jobs: Iterable[Any]) -> list[Any]:
        """Those of these jobs that are neither waiting nor at work."""
        if self.cluster != "slurm":
            return [job for job in jobs if job.done()]
        # sacct, which submitit asks, needs a database that not every cluster has.
        try:
            done = subprocess.run(
                [*SQUEUE, f"--user={getpass.getuser()}"], capture_output=True, text=True, timeout=ASKING, check=True
            )
        except (subprocess.SubprocessError, OSError):
            return []  # the controller is busy, or being restarted: jobs go on without it
        there = set(done.stdout.split())
        return [job for job in jobs if job.job_id not in there]

    def cancel(self, jobs: Iterable[Any]) -> None:
        """End jobs."""
        for job in jobs:
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                job.cancel(check=False)

    def see_off(self, jobs: Iterable[Any]) -> None:
        """Wait a while for jobs that have nothing left to do, or are cancelled, before their files are removed."""
        left, until = list(jobs), time.monotonic() + FAREWELL
        while left and time.monotonic() < until:
            ended = self.ended(left)
            left = [job for job in left if job not in ended]
            if left:
                time.sleep(GLANCE if self.cluster == "local" else 1.0)

    def last_word(self, job: Any) -> str:
        """The last line that a job printed to stderr."""
        try:
            said = job.paths.stderr.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            said = ""
        return said.splitlines()[-1].strip() if said else "it said nothing"
