"""A file's structure is walked once as long as the file is the same."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.store import files, hdf5, safety, walked
from gptfl.store.files import amend, create, open_file
from gptfl.store.kinds import SIMULATOR


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with create(tmp_path / "a.h5", SIMULATOR, settings={}, inputs={}) as file:
        hdf5.put_array(file, "value", np.arange(100))
    return tmp_path / "a.h5"


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The path of every walk; files count as settled at once."""
    found: list[Path] = []
    real = files.check_contents

    def check(file: h5py.File, path: Path, *given: Any, **more: Any) -> safety.Sizes:
        found.append(path)
        return real(file, path, *given, **more)

    monkeypatch.setattr(files, "check_contents", check)
    monkeypatch.setattr(walked, "_STABLE", 0)
    monkeypatch.setattr(walked, "_KNOWN", {})
    return found


def read(path: Path, **options: Any) -> None:
    with open_file(path, SIMULATOR, **options):
        pass


def test_a_file_is_walked_once_under_any_name(plain: Path, walks: list[Path]) -> None:
    (plain.parent / "link.h5").symlink_to(plain)
    for path in (plain, plain, plain.parent / "link.h5"):
        read(path)
    assert walks == [plain]


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def overwrite(path: Path) -> None:
    """Other bytes, in place, and the former times of reading and writing."""
    was = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def replace(path: Path) -> None:
    """Another file of the same size and times."""
    was, other = path.stat(), path.with_name("b")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [touch, overwrite, replace])
def test_one_that_was_changed_is_walked_again(plain: Path, walks: list[Path], change: Callable[[Path], None]) -> None:
    with plain.open("ab") as file:
        file.write(b"behind the end that HDF5 knows")
    read(plain)
    change(plain)
    read(plain)
    assert len(walks) == 2


def test_what_is_asked_otherwise_is_walked_again(
    plain: Path, walks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(plain)
    read(plain, skipped=("value",))
    read(plain, max_bytes=10_000)
    monkeypatch.setenv(safety.TRUST, "1")
    read(plain)
    assert len(walks) == 4


def test_one_that_was_changed_just_now_is_not_remembered(
    plain: Path, walks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walked, "_STABLE", 10**18)
    read(plain)
    read(plain)
    assert len(walks) == 2


def test_what_is_refused_is_refused_again(plain: Path, walks: list[Path]) -> None:
    with h5py.File(plain, "r+", libver="v110") as file:
        file["x"] = h5py.SoftLink("/value")
    for _ in range(2):
        with pytest.raises(DataError, match="has at /x a link to elsewhere"):
            read(plain)


def test_what_a_change_is_built_on_is_walked(plain: Path, walks: list[Path]) -> None:
    read(plain)
    with amend(plain, SIMULATOR) as file:
        hdf5.put_array(file, "more", np.arange(3))
    assert len(walks) == 3  # before and after
    read(plain)
    assert len(walks) == 4


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walked, "_KNOWN", {})
    monkeypatch.setattr(walked, "_MOST", 2)
    for key in "abc":
        walked.remember(key, 1)
    assert [walked.recall(key) for key in "abc"] == [None, 1, 1]
