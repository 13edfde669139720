import contextlib
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.store import hdf5
from gptfl.store.files import Header, amend, create, open_file, read_header
from gptfl.store.kinds import FEATURES, KINDS, SIMULATOR


def write(path: Path, value: int) -> None:
    with create(path, SIMULATOR, settings={"größe": [1, None, True]}, inputs={"dynamics": "ff"}) as file:
        hdf5.put_array(file, "value", np.full(5, value))


def value_of(path: Path) -> int:
    with open_file(path, SIMULATOR) as file:
        return int(hdf5.get_array(file, "value", 1, "i")[0])


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.h5", 1)
    header = read_header(tmp_path / "new" / "a.h5")
    assert isinstance(header, Header)
    assert (header.kind, header.format_version) == (SIMULATOR, KINDS[SIMULATOR].format_version)
    assert (header.settings, header.inputs) == ({"größe": [1, None, True]}, {"dynamics": "ff"})
    assert header.versions["h5py"] == h5py.__version__
    assert header.created.endswith("+00:00")


def test_a_failed_block_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, 1)
    with pytest.raises(ZeroDivisionError), create(path, SIMULATOR, settings={}, inputs={}):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), amend(path, SIMULATOR) as file:
        file["more"] = 1 / 0
    assert value_of(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_messages_name_the_file_that_is_being_made(tmp_path: Path) -> None:
    with create(tmp_path / "größe a%20b.h5", SIMULATOR, settings={}, inputs={}) as file:
        assert hdf5.path_of(file) == tmp_path / "größe a%20b.h5"


def test_a_file_is_replaced_while_it_is_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, 1)
    with open_file(path, SIMULATOR) as old:
        write(path, 2)
        assert hdf5.get_array(old, "value")[0] == 1
    assert value_of(path) == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.h5"
    write(path, 1)

    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match=r"a\.h5 can't be written.*free some space"):
            write(path, 2)
        with pytest.raises(ResourceError, match="free some space"), amend(path, SIMULATOR) as file:
            hdf5.put_array(file, "more", np.ones(3))
    assert value_of(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_the_system_cuts_short_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, 1)
    size = path.stat().st_size
    code = f"""
import resource, pathlib, numpy as np
from gptfl.errors import ResourceError
from gptfl.store import files
from gptfl.store import hdf5
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 1000}, {resource.RLIM_INFINITY}))
try:
    with files.amend(pathlib.Path({str(path)!r}), "gptfl-simulator") as file:
        hdf5.put_array(file, "large", np.random.default_rng(0).random(1000))
except ResourceError as error:
    raise SystemExit(5 if "File too large" in str(error) else 1)
"""
    # Bytecode would be cut off, too, and break every later process.
    assert subprocess.run([sys.executable, "-B", "-c", code], check=False).returncode == 5
    assert value_of(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ResourceError, match=r"taken.*can't be written"):
        write(tmp_path / "taken" / "a.h5", 1)
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(ResourceError, match=r"a\.h5 can't be written"):
        write(tmp_path / "a.h5", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "taken"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="mend its permissions"):
        write(tmp_path / "a.h5", 1)


def test_wrong_kind_says_what_it_is_and_who_takes_it(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", 1)
    with (
        pytest.raises(DataError, match=r"a\.h5 is a simulator, not a features file: .*gptfl simulate.*gptfl featurize"),
        open_file(tmp_path / "a.h5", FEATURES),
    ):
        pass


def test_missing_and_foreign_paths(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("hello, I am no recording")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    messages = {
        "none.h5": "does not exist",
        ".": "is not a file",
        "empty.h5": "is empty",
        "text.h5": "is no HDF5 file",
        "foreign.h5": "was not written by gptfl",
    }
    for name, message in messages.items():
        with pytest.raises(DataError, match=message):
            read_header(tmp_path / name)
    with pytest.raises(DataError, match="x can't be read: File name too long"):
        read_header(tmp_path / ("x" * 300))


@pytest.mark.parametrize(("name", "value"), [("format_version", np.int64(99)), ("kind", np.bytes_(b"gptfl-dreams"))])
def test_what_a_later_gptfl_wrote_asks_for_an_upgrade(tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path / "a.h5", 1)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs[name] = value
    with pytest.raises(DataError, match="upgrade gptfl"):
        read_header(tmp_path / "a.h5")


def test_truncated_at_any_length(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", 1)
    whole = (tmp_path / "a.h5").read_bytes()
    for length in (*range(0, 120, 7), *np.linspace(120, len(whole) - 1, 40).astype(int)):
        (tmp_path / "cut.h5").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.h5 is (empty|no HDF5 file|truncated|damaged)"):
            value_of(tmp_path / "cut.h5")


def test_changed_bytes_are_found_or_harmless(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", 1)
    whole = np.fromfile(tmp_path / "a.h5", dtype=np.uint8)
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = whole.copy()
        changed[random.integers(8, len(whole), 3)] = random.integers(0, 256, 3)
        changed.tofile(tmp_path / "b.h5")
        with contextlib.suppress(DataError):
            assert value_of(tmp_path / "b.h5") == 1
