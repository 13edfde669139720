"""What takes its name whole, and what killed commands leave."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptfl.errors import GptflWarning, ResourceError
from gptfl.store import durable
from gptfl.store.durable import cannot_write, part_of, put_folder_in_place, put_in_place, remove_leftovers
from gptfl.store.outputs import written_whole
from gptfl.store.workspace import Workspace

posix = pytest.mark.skipif(os.name != "posix", reason="locks of other systems differ")
WRITER = """
import sys, time
from pathlib import Path
from gptfl.store.durable import part_of
with part_of(Path(sys.argv[1]), folder=sys.argv[2] == "folder") as aside:
    print(aside.name, flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_being_written_stays_whoever_asks_and_goes_once_its_writer_is_killed(tmp_path: Path, kind: str) -> None:
    # Process numbers say nothing from container to container; the lock does.
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.h5"), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        part = tmp_path / writer.stdout.readline().strip()
        assert remove_leftovers(tmp_path) == []
        assert part.exists()
        writer.kill()
        writer.wait()
    assert remove_leftovers(tmp_path) == [part]
    assert not list(tmp_path.iterdir())


@posix
def test_only_names_of_gptfl_are_removed_and_earlier_ones_after_a_day(tmp_path: Path) -> None:
    kept = [".a.h5.part", "film.mp4.part", ".film.gptfl-12.part", ".a.h5.host-12.part"]
    for name in (*kept, ".b.h5.host-12.part", ".c.h5.gptfl-0123abcd.part"):
        (tmp_path / name).write_text("half")
    long_ago = time.time() - 2 * durable.DAY
    os.utime(tmp_path / ".b.h5.host-12.part", (long_ago, long_ago))
    assert remove_leftovers(tmp_path) == [tmp_path / ".c.h5.gptfl-0123abcd.part"]
    assert remove_leftovers(tmp_path, former=True) == [tmp_path / ".b.h5.host-12.part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@posix
def test_where_nothing_can_be_locked_a_part_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", refuse)
    part = tmp_path / ".c.h5.gptfl-0123abcd.part"
    part.touch()
    assert remove_leftovers(tmp_path) == []
    long_ago = time.time() - 2 * durable.DAY
    os.utime(part, (long_ago, long_ago))
    with written_whole(tmp_path / "a.txt") as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@posix
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_workspace_without_locks_is_held_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    space = Workspace(tmp_path)
    message = r"keeps no locks: \.lock\.soft there says that it is in use"
    with pytest.warns(GptflWarning, match=message), space.lock("gptfl fit"):
        assert (tmp_path / ".lock.soft").exists()
    assert not (tmp_path / ".lock.soft").exists()
    (tmp_path / ".lock.soft").write_text("1\nanother-host\n")
    message = r"is writing to .*: wait for it, .*; if nothing writes there, delete .*\.lock\.soft"
    with pytest.raises(ResourceError, match=message), space.lock("gptfl fit"):
        pass


def half_of_it() -> str:
    raise ValueError("stop")


def test_a_failure_leaves_the_former_file_and_no_part(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("former")
    with pytest.raises(ValueError, match="stop"), written_whole(tmp_path / "a.txt") as part:
        part.write_text(half_of_it())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "former"


def test_files_and_folders_are_flushed_before_and_their_names_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(durable, "sync_file", lambda path: done.append(f"file {path.name}"))
    monkeypatch.setattr(durable, "sync_folder", lambda path: done.append(f"folder {path.name}"))
    named = Path.replace

    def replace(self: Path, target: Path) -> Path:
        done.append(f"name {target.name}")
        return named(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "part").touch()
    put_in_place(tmp_path / "part", tmp_path / "a.txt")
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "inner").touch()
    put_folder_in_place(tmp_path / "aside", tmp_path / "b")
    top = f"folder {tmp_path.name}"
    assert done == ["file part", "name a.txt", top, "file inner", "folder aside", "name b", top]


@pytest.mark.parametrize("at_one_stroke", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_one_stroke: bool
) -> None:
    if not at_one_stroke:
        monkeypatch.setattr(durable, "_exchange", lambda one, other: False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with part_of(tmp_path / "a", folder=True) as part:
        (part / "new").touch()
        put_folder_in_place(part, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]


@pytest.mark.parametrize("folder", [False, True])
def test_folders_that_were_made_for_what_failed_go_again(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine", tmp_path / "mine" / "new" / "deep"):
        with pytest.raises(RuntimeError), part_of(place / "a", folder):
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_of_a_folder_have_the_permissions_of_any_other(tmp_path: Path, umask: int, mode: int) -> None:
    former = os.umask(umask)
    try:
        with part_of(tmp_path / "model", folder=True) as part:
            (part / "plain").touch()
            (part / "inner").mkdir()
            for name in ("weights", "inner/weights"):
                (part / name).touch(mode=0o600)  # as libraries do that write through a temporary file
            put_folder_in_place(part, tmp_path / "model")
    finally:
        os.umask(former)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in files} == {mode}


def test_a_long_name_leaves_room_for_what_is_added(tmp_path: Path) -> None:
    name = "é" * 120 + ".txt"
    with written_whole(tmp_path / name) as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "Permission denied: mend its permissions, or write elsewhere"),
        (errno.ENOENT, "no folder can be made there (No such file or directory): write elsewhere"),
        (errno.EIO, "Input/output error: write elsewhere"),
        (errno.ENOTDIR, "Not a directory: clear the way, or write elsewhere"),
        (errno.ENOSPC, "No space left on device: free some space, or write elsewhere"),
    ],
)
def test_the_remedy_fits_why_the_system_refuses(number: int, said: str) -> None:
    error = cannot_write(Path("a.h5"), OSError(number, os.strerror(number)))
    assert f"a.h5 can't be written: {said}" in error.line
