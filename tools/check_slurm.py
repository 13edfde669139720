"""Holds the executor slurm against a real Slurm of one node: a job is cancelled within a run, another one preempted.

Needs Debian's packages slurm-wlm and munge, and root: ``python tools/check_slurm.py``. It starts munged, slurmctld and slurmd
with a configuration of its own in a temporary folder, and ends them. Prints what it did, as docs/clusters.md shows it.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gptfl import collect
from gptfl.store.recordings import read_dynamics

CONFIG = """\
ClusterName=one
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerParameters=sched_interval=1
KillWait=2
NodeName={host} CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""
SIZES = {"runs": 6, "pool": 24, "test": 12, "steps": 120, "batch_size": 4, "lr": 1e-3}


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A cluster of this machine alone, for as long as the block runs."""
    host = socket.gethostname().split(".")[0]
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, cores=os.cpu_count()))
    os.environ["SLURM_CONF"] = str(config)
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    munge = subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    servers = [
        subprocess.Popen([name, "-D"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("slurmctld", "slurmd")
    ]
    try:
        for _ in range(60):
            state = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
            ).stdout.strip()
            if state == "idle":
                break
            time.sleep(1)
        else:
            sys.exit(f"the cluster does not come up: {state}")
        yield
    finally:
        for server in [*servers[::-1], munge]:
            server.terminate()
            server.wait()


class Trouble:
    """Cancels the first job that is seen within a run and preempts the next one; reports what it sees."""

    def __init__(self) -> None:
        self.hit: list[str] = []
        self.shown = -1

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Called as the recording goes on."""
        if what != "collect":
            return
        share = 10 * done // total
        if share != self.shown:
            self.shown = share
            say(f"{done} of {total} steps; squeue: {'; '.join(queue()) or 'empty'}")
        if len(self.hit) < 2 and share >= 4 * len(self.hit):
            running = [line.split()[0] for line in queue() if "RUNNING" in line and line.split()[0] not in self.hit]
            # As Slurm does: USR2 tells a job that its time is over, or that another one goes before.
            command = ["scancel", *(["--signal=USR2"] if self.hit else []), *running[:1]]
            # It may just be ending.
            if running and subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0:
                self.hit.append(running[0])
                say(" ".join(command))


def queue() -> list[str]:
    """The jobs that wait or are at work."""
    done = subprocess.run(["squeue", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def main() -> None:
    """Record twice, here and by Slurm, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    model = parser.parse_args().model
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="gptfl-slurm-") as name, slurm(Path(name)):
        folder = Path(name)
        version = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        say(f"{version}, {os.cpu_count()} cores; --model {model} --task errands {SIZES}")
        started = time.monotonic()
        here = collect(model, "errands", workspace=folder / "here", **SIZES)
        say(f"local: {here.runs} runs in {time.monotonic() - started:.0f} s")
        trouble = Trouble()
        settings = {"folder": str(folder / "shared"), "partition": "main", "timeout_min": 5, "poll_seconds": 1}
        say("slurm: " + ",".join(f"{key}={value}" for key, value in settings.items() if key != "folder"))
        started = time.monotonic()
        there = collect(
            model,
            "errands",
            workspace=folder / "there",
            executor="slurm",
            executor_set=settings,
            progress=trouble,
            **SIZES,
        )
        say(f"slurm: {there.runs} runs in {time.monotonic() - started:.0f} s")
        same = read_dynamics(here.path).fingerprint == read_dynamics(there.path).fingerprint
        say(f"cancelled and preempted: {', '.join(trouble.hit)}; the same recording, bit for bit: {same}")
        say(f"left in the folder: {sum(1 for _ in (folder / 'shared').rglob('*'))} files")
        if not same or len(trouble.hit) < 2:
            sys.exit(1)


if __name__ == "__main__":
    main()
