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

from gptfl.core import Dynamics, Run
from gptfl.store.durable import remove_leftovers
from gptfl.store.recordings import append_run, merge_runs, read_dynamics, write_dynamics
from gptfl.store.workspace import runs_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")

# Forks children that append and merge runs without end, one for each line on stdin, and prints their ids:
# the libraries are then loaded once and not for every child.
DRIVER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from gptfl.store.recordings import append_run, merge_runs, read_dynamics

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
            if index % 3 == 0:
                merge_runs(path)
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
        for _ in range(12):
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
    for folder in (tmp_path, runs_folder(path)):
        remove_leftovers(folder)
    merge_runs(path)
    assert list(tmp_path.iterdir()) == [path]
    assert len(read_dynamics(path).runs) == known


# Carries out a command up to each of its calls that change the disk, in a child that ends right after it; the parent
# then reads, goes on with the command, and reads again.
STEPS = """
import os, shutil, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from gptfl.core import GradientProducts, GradientSketches, SketchPoint
from gptfl.core.blocked_products import BlockedProducts, UnknownRows
from gptfl.store.recordings import append_gradients, append_run, append_sketches, merge_runs, read_dynamics
from gptfl.store.durable import remove_leftovers
from gptfl.store.workspace import runs_folder

os.fsync = lambda handle: None  # an end of the process needs no disk, and the disk is slow
start, place = Path(sys.argv[1]), Path(sys.argv[2])
path = place / "a.dynamics.h5"
one = read_dynamics(start / path.name).runs[0]
ones = np.ones((1, 4, 2), np.float32)
products = GradientProducts(1, np.array([0]), np.array([0.1]), ones, ones, ones[:, :, 0], ones[:, :, 0])
blocked = replace(products, raw=BlockedProducts([UnknownRows((4, 2))]))
points = (SketchPoint(0, ones[0], ones[0, :2], None),)
sketches = GradientSketches(1, np.array([0]), np.array([0.1]), 2, None, points)
commands = {
    "first append": lambda: append_run(path, replace(one, index=1)),
    "append": lambda: append_run(path, replace(one, index=9)),
    "merge": lambda: merge_runs(path),
    "gradients": lambda: append_gradients(path, products),
    "gradients in blocks": lambda: append_gradients(path, blocked),
    "sketches": lambda: append_sketches(path, sketches),
    "sketches, products in blocks": lambda: append_sketches(path, replace(sketches, products=blocked)),
}

def ending(number):
    left = number
    def guarded(call):
        def run(*arguments, **options):
            nonlocal left
            result = call(*arguments, **options)
            left -= 1
            if left == 0:
                os._exit(9)
            return result
        return run
    os.fsync = guarded(os.fsync)
    for name in ("replace", "unlink", "mkdir", "rmdir"):
        setattr(Path, name, guarded(getattr(Path, name)))

for name, command in commands.items():
    number, ended = 1, False
    while not ended:
        shutil.rmtree(place)
        shutil.copytree(start, place)
        had, wanted = [0, 2, 3], [0, 2, 3] + [9] * (name == "append")
        if name == "first append":
            shutil.rmtree(runs_folder(path))
            had, wanted = [0], [0, 1]
        child = os.fork()
        if child == 0:
            ending(number)
            command()
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        found = read_dynamics(path)
        indices = [run.index for run in found.runs]
        assert indices in (had, wanted), (name, number, indices)
        lacks = ("gradients" in name and found.gradients is None) or ("sketches" in name and found.sketches is None)
        if indices != wanted or lacks:
            command()
        merge_runs(path)
        for folder in (place, runs_folder(path)):
            remove_leftovers(folder)
        merge_runs(path)
        found = read_dynamics(path)
        assert [run.index for run in found.runs] == wanted, (name, number)
        assert (found.gradients is not None) == ("gradients" in name)
        assert (found.sketches is not None) == ("sketches" in name)
        assert [one.name for one in place.iterdir()] == [path.name], (name, number, list(place.iterdir()))
        number += 1
    print(name, number)
"""


def test_killed_at_every_step(tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]) -> None:
    start = tmp_path / "start" / "a.dynamics.h5"
    write_dynamics(start, replace(dynamics, runs=(make_run(0),)))
    for index in (2, 3):
        append_run(start, make_run(index))
    (tmp_path / "place").mkdir()
    command = [sys.executable, "-c", STEPS, str(start.parent), str(tmp_path / "place")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = {name: int(number) for name, number in (line.rsplit(" ", 1) for line in done.stdout.splitlines())}
    # A part, its name, both flushed, and the folder's; or the recording's, and each run that goes.
    added = {"gradients", "gradients in blocks", "sketches", "sketches, products in blocks"}
    assert counts.keys() == {"first append", "append", "merge", *added}
    assert min(counts.values()) >= 5


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from gptfl.store.recordings import append_run, merge_runs, read_dynamics

path = Path(sys.argv[1])
one = read_dynamics(path).runs[0]
print("ready", flush=True)
for index in range(1, 17):
    append_run(path, replace(one, index=index))
    if index % 4 == 0:
        merge_runs(path)
"""


def test_readers_never_fail_nor_see_fewer_runs(
    tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, runs=(make_run(0),)))
    known = 1
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            found = [run.index for run in read_dynamics(path).runs]
            assert found == list(range(len(found)))
            assert len(found) >= known
            known = len(found)
    assert writer.returncode == 0
    assert len(read_dynamics(path).runs) == 17
