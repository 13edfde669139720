"""A process that is killed at any moment leaves a whole file that holds every run it had finished."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gptfl.records import Dynamics, Run
from gptfl.store.durable import remove_leftovers
from gptfl.store.dynamics import read_dynamics, write_dynamics

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")

# Forks children that append runs without end, one for each line on stdin, and prints their ids:
# the libraries are then loaded once and not for every child.
DRIVER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from gptfl.store.dynamics import append_run, read_dynamics

path = Path(sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        dynamics = read_dynamics(path)
        index = len(dynamics.runs)
        while True:
            append_run(path, replace(dynamics.runs[0], index=index))
            os.write(3, b".")
            index += 1
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, runs=(make_run(0),)))
    report, done = os.pipe()
    moments = random.Random(0)
    known = 1
    with subprocess.Popen(
        [sys.executable, "-c", f"import os; os.dup2({done}, 3)\n{DRIVER}", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[done],
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for _ in range(25):
            driver.stdin.write("go\n")
            driver.stdin.flush()
            child = int(driver.stdout.readline())
            known += len(os.read(report, 1))
            time.sleep(moments.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            assert driver.stdout.readline() == "gone\n"
            os.set_blocking(report, False)
            with contextlib.suppress(BlockingIOError):
                known += len(os.read(report, 10_000))
            os.set_blocking(report, True)
            found = read_dynamics(path)
            assert [run.index for run in found.runs] == list(range(len(found.runs)))
            # One more than was reported if it was killed between the rename and the report.
            assert len(found.runs) - known in (0, 1)
            known = len(found.runs)
        driver.stdin.close()
    os.close(report)
    os.close(done)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
