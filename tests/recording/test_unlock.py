"""Files that another program has, or had, open to write."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.recording.inspect import inspect
from gptfl.recording.unlock import unlock
from gptfl.store.marks import is_marked
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics

OPENS = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', libver='v110'); print(flush=True); sys.stdin.read()"


@pytest.fixture
def recording() -> Path:
    """A whole recording."""
    return Path(__file__).parents[1] / "store" / "samples" / "v1" / "dynamics.h5"


@pytest.fixture
def marked(recording: Path, tmp_path: Path) -> Path:
    """A recording that a killed program had open."""
    path = tmp_path / "a b.dynamics.h5"
    path.write_bytes(recording.read_bytes())
    command = [sys.executable, "-c", OPENS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.kill()
    return path


def test_a_file_left_open_is_no_damaged_file(marked: Path) -> None:
    assert is_marked(marked)
    with pytest.raises(ResourceError, match=r"left so by one that was killed: .*gptfl unlock '.*a b\.dynamics\.h5'"):
        inspect(marked)


def test_unlocking_gives_back_the_very_file(recording: Path, marked: Path) -> None:
    os.utime(marked, ns=(10**18, 10**18))
    link = marked.with_name("link.h5")
    link.symlink_to(marked.name)
    assert unlock(link).changed
    assert link.is_symlink()
    assert marked.read_bytes() == recording.read_bytes()
    assert marked.stat().st_mtime_ns == 10**18
    assert not unlock(marked).changed


def test_a_file_that_is_open_still_is_not_unlocked(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(recording.read_bytes())
    with h5py.File(path, "r+", libver="v110", locking=True):
        before = path.read_bytes()
        with pytest.raises(ResourceError, match="is still open in another program: close it there first"):
            unlock(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["cut", "header", "superblock", "data"])
def test_a_damaged_file_is_not_unlocked(marked: Path, where: str) -> None:
    image = bytearray(marked.read_bytes())
    if where == "cut":
        image = image[: len(image) // 2]
    elif where == "data":
        image[len(image) // 4 : len(image) // 2] = bytes(len(image) // 2 - len(image) // 4)
    else:
        image[{"header": 60, "superblock": 30}[where]] ^= 255
    marked.write_bytes(image)
    with pytest.raises(DataError, match=r"a b\.dynamics\.h5"):
        unlock(marked)
    assert marked.read_bytes() == image
    assert [path.name for path in marked.parent.iterdir()] == [marked.name]


READS = """
import fcntl, sys
from pathlib import Path
from gptfl.errors import ResourceError
from gptfl.recording.inspect import inspect
from gptfl.store.recordings import merge_runs, read_dynamics
from gptfl.store.outputs import check_target

recording, run, *others = map(Path, sys.argv[1:])
readings = [(path, inspect, path) for path in (recording, run, *others)]
readings += [(run, read, recording) for read in (read_dynamics, merge_runs, inspect)]
readings += [(path, lambda path: check_target(path, "gptfl-features"), path) for path in others]
for locked, read, path in readings:
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            read(path)
        except ResourceError as error:
            assert str(error).startswith(f"{locked} can't be locked"), error
            assert "set HDF5_USE_FILE_LOCKING=FALSE" in error.remedy
        else:
            raise AssertionError(path)
"""


def test_a_file_that_is_locked_is_no_damaged_file(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dynamics.h5"
    found = read_dynamics(recording)
    write_dynamics(path, replace(found, runs=found.runs[:1]))
    append_run(path, found.runs[1])
    (run,) = path.with_name(f"{path.name}.runs").iterdir()
    others = [recording.with_name(f"{kind}.h5") for kind in ("features", "simulator", "predictions")]
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "TRUE")
    command = [sys.executable, "-c", READS, *map(str, (path, run, *others))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
