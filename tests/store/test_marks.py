"""The mark of a file that is open to write: found, cleared, and summed up as HDF5 does."""

from pathlib import Path

import h5py
import pytest

from gptfl.store.marks import SIGNATURE, SIZE, checksum, is_marked, unmarked


@pytest.fixture
def open_still(tmp_path: Path) -> Path:
    """The bytes of a file while it was open to write."""
    with h5py.File(tmp_path / "a.h5", "w", libver="v110") as file:
        file["x"] = [1, 2, 3]
    with h5py.File(tmp_path / "a.h5", "r+", libver="v110"):
        (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    return tmp_path / "b.h5"


def test_the_checksum_is_lookup3() -> None:
    # The author's own values.
    assert checksum(b"") == 0xDEADBEEF
    assert checksum(b"Four score and seven years ago") == 0x17770551


def test_hdf5_sums_its_superblock_up_so(whole: Path) -> None:
    start = whole.read_bytes()[:SIZE]
    assert start.startswith(SIGNATURE)
    assert int.from_bytes(start[44:], "little") == checksum(start[:44])


def test_a_marked_file_is_known_and_opens_once_the_mark_is_cleared(open_still: Path) -> None:
    assert is_marked(open_still)
    with pytest.raises(OSError, match="already open"):
        h5py.File(open_still)
    open_still.write_bytes(unmarked(bytearray(open_still.read_bytes())))
    assert not is_marked(open_still)
    with h5py.File(open_still) as file:
        assert file["x"][()].tolist() == [1, 2, 3]


@pytest.mark.parametrize("place", [0, 8, 9, 20, 44])
def test_what_is_no_sound_superblock_has_no_mark(open_still: Path, place: int) -> None:
    image = bytearray(open_still.read_bytes())
    image[place] ^= 1
    open_still.write_bytes(image)
    assert not is_marked(open_still)


def test_other_files_have_no_mark(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(SIGNATURE)
    for path in (whole, tmp_path / "short", tmp_path / "missing", tmp_path):
        assert not is_marked(path)
