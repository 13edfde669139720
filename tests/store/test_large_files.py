"""Files whose arrays go straight to the disk: whole, like any other, or not there at all."""

import errno

import h5py
import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.errors import DataError, ResourceError
from gptfl.store import features as stored
from gptfl.store import files, hdf5, large_files
from gptfl.store.features import read_features, write_features
from gptfl.store.kinds import DYNAMICS, FEATURES
from gptfl.store.large_files import amend_large, create_large
from gptfl.store.memory import PagedMemory

ARRAY = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float16)


def blocks(array=ARRAY):
    return (array[start : start + 700] for start in range(0, len(array), 700))


def write(path, array=ARRAY, given=None):
    with create_large(path, FEATURES, settings={"a": 1}, inputs={}) as large:
        group = large.file.create_group("rows")
        large.put_rows(group, "one", array.shape, array.dtype, blocks(array) if given is None else given)
        hdf5.put_array(group, "small", np.arange(9.0))
        large.put_rows(group, "two", array.shape, array.dtype, blocks(array))


def test_they_are_read_as_any_other_file(tmp_path):
    write(tmp_path / "a.h5")
    with files.open_file(tmp_path / "a.h5", FEATURES) as file:
        assert files.header_of(file).settings == {"a": 1}
        group = hdf5.get_group(file, "rows")
        for name in ("one", "two"):
            np.testing.assert_array_equal(hdf5.get_array(group, name, 2, "f"), ARRAY)
        np.testing.assert_array_equal(hdf5.get_array(group, "small"), np.arange(9.0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_changed_byte_is_found(tmp_path):
    path = tmp_path / "a.h5"
    write(path)
    with h5py.File(path) as file:
        place = file["rows/two"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="is not as it was written"), files.open_file(path, FEATURES) as file:
        hdf5.get_array(hdf5.get_group(file, "rows"), "two")


def test_arrays_of_three_axes_and_of_nothing_known(tmp_path):
    cube = ARRAY[:2940].reshape(3, 980, 64).astype(np.float32)
    with create_large(tmp_path / "a.h5", FEATURES, settings={}, inputs={}) as large:
        rows = (one[start : start + 500] for one in cube for start in (0, 500))
        large.put_rows(large.file, "known", cube.shape, cube.dtype, rows)
        large.put_unknown(large.file, "unknown", (2, 70_001, 64), np.dtype(np.float32))
    assert (tmp_path / "a.h5").stat().st_size < 2 * cube.nbytes
    with files.open_file(tmp_path / "a.h5", FEATURES) as file:
        np.testing.assert_array_equal(hdf5.get_array(file, "known", 3, "f"), cube)
        found = hdf5.get_array(file, "unknown", 3, "f")
    assert (found.shape, found.dtype) == ((2, 70_001, 64), np.float32)
    assert np.isnan(found).all()


def test_more_than_readers_take_leaves_no_file(tmp_path):
    with (
        pytest.raises(DataError, match="holds more than"),
        create_large(tmp_path / "a.h5", FEATURES, settings={}, inputs={}, max_bytes=ARRAY.nbytes) as large,
    ):
        large.put_rows(large.file, "one", ARRAY.shape, ARRAY.dtype, blocks())
    assert not list(tmp_path.iterdir())


def test_what_packs_very_well_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("gptfl.store.safety.FREE_BYTES", 0)
    with create_large(tmp_path / "a.h5", FEATURES, settings={}, inputs={}) as large:
        large.put_unknown(large.file, "unknown", (1, 70_001, 64), np.dtype(np.float32))
    with files.open_file(tmp_path / "a.h5", FEATURES) as file:
        assert np.isnan(hdf5.get_array(file, "unknown", 3, "f")).all()


@pytest.mark.parametrize("empty", [(0, 64), (5, 0)])
def test_nothing_is_kept_as_nothing(tmp_path, empty):
    write(tmp_path / "a.h5", np.zeros(empty, np.float32))
    with files.open_file(tmp_path / "a.h5", FEATURES) as file:
        assert hdf5.get_array(hdf5.get_group(file, "rows"), "two").shape == empty


def test_fewer_rows_than_said_leave_no_file(tmp_path):
    with pytest.raises(DataError, match="one has 700 rows and not 3000"):
        write(tmp_path / "a.h5", given=[ARRAY[:700]])
    assert not list(tmp_path.iterdir())


def test_other_than_numbers_are_refused(tmp_path):
    texts = np.array([["abc"]])
    with (
        pytest.raises(DataError, match="only arrays of integers, floats and booleans"),
        create_large(tmp_path / "a.h5", FEATURES, settings={}, inputs={}) as large,
    ):
        large.put_rows(large.file, "one", (1, 1), texts.dtype, [texts])


def test_a_full_disk_leaves_what_was_there(tmp_path):
    write(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()

    def full():
        yield ARRAY[:700]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceError, match="No space left on device"):
        write(tmp_path / "a.h5", given=full())
    assert (tmp_path / "a.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("noise", [0, 2**18])
def test_a_file_is_changed_of_which_only_what_changes_is_in_memory(tmp_path, monkeypatch, noise):
    path = tmp_path / "a.h5"
    write(path)
    with path.open("ab") as file:  # as behind a file that packs very well
        file.write(b"x" * noise)
    kept = []
    monkeypatch.setattr(
        large_files, "PagedMemory", lambda *given: kept.append(PagedMemory(*given)) or kept[-1], raising=True
    )
    with amend_large(path, FEATURES) as large:
        large.put_rows(large.file.create_group("more"), "three", ARRAY.shape, ARRAY.dtype, blocks(ARRAY + 1))
        hdf5.put_array(large.file["more"], "four", np.arange(5.0))
        hdf5.put_array(large.file, "five", np.arange(3.0))
    with files.open_file(path, FEATURES) as file:
        assert files.header_of(file).settings == {"a": 1}
        rows, more = hdf5.get_group(file, "rows"), hdf5.get_group(file, "more")
        for name in ("one", "two"):
            np.testing.assert_array_equal(hdf5.get_array(rows, name, 2, "f"), ARRAY)
        np.testing.assert_array_equal(hdf5.get_array(more, "three", 2, "f"), ARRAY + 1)
        np.testing.assert_array_equal(hdf5.get_array(more, "four"), np.arange(5.0))
        np.testing.assert_array_equal(hdf5.get_array(rows, "small"), np.arange(9.0))
        np.testing.assert_array_equal(hdf5.get_array(file, "five"), np.arange(3.0))
    assert path.stat().st_size < 3 * ARRAY.nbytes + 2**17
    assert len(kept[0]._pages) * 2**16 < ARRAY.nbytes
    assert [one.name for one in tmp_path.iterdir()] == ["a.h5"]


def test_a_change_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.h5"
    write(path)
    before = path.read_bytes()

    def full():
        yield ARRAY[:700]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceError, match="No space left on device"), amend_large(path, FEATURES) as large:
        large.put_rows(large.file, "three", ARRAY.shape, ARRAY.dtype, full())
    with (
        pytest.raises(DataError, match="GiB unpacked"),
        amend_large(path, FEATURES, 100_000) as large,
    ):
        large.put_rows(large.file, "three", ARRAY.shape, ARRAY.dtype, blocks())
    with pytest.raises(DataError, match="is a features file, not a recording"), amend_large(path, DYNAMICS):
        pass
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_large_features_are_written_and_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LARGE", ARRAY.size)
    given = Features("e", {}, "x", {"s": FeatureSet(ARRAY, ARRAY[:5], "gradient")})
    write_features(tmp_path / "a.h5", given)
    found = read_features(tmp_path / "a.h5")
    assert found.in_blocks
    assert found.fingerprint == given.fingerprint
    assert found.sets["s"].kind == "gradient"
    # What is in blocks is written again as it is.
    write_features(tmp_path / "b.h5", found)
    assert read_features(tmp_path / "b.h5").fingerprint == given.fingerprint


def test_a_file_with_holes_takes_the_memory_of_what_was_written(tmp_path):
    memory = PagedMemory(tmp_path / "a")
    memory.seek(10)
    memory.write(b"abc")
    memory.seek(10**12)
    memory.write(b"end")
    memory.seek(11)
    memory.write(b"XY")
    assert len(memory._pages) == 2
    assert list(memory.parts()) == [(10, b"aXY"), (10**12, b"end")]
    memory.seek(8)
    assert memory.read(6) == b"\0\0aXY\0"
    memory.truncate(12)
    assert list(memory.parts()) == [(10, b"aX")]
    memory.seek(0)
    assert memory.read() == b"\0" * 10 + b"aX"
    assert (memory.readable(), memory.writable(), memory.seekable()) == (True, True, True)
    assert large_files.PagedMemory is PagedMemory
