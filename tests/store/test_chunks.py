"""Chunks are packed and unpacked as HDF5 does it, but never to more than they declare."""

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.chunks import read_array
from gptfl.store.files import open_file
from gptfl.store.kinds import SIMULATOR


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "u1", "?", "<f2"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_chunks_are_read_as_hdf5_reads_them(tmp_path: Path, dtype: str, shuffle: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2, size=(7, 5, 3)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed = file.create_dataset("x", data=values, chunks=(3, 5, 2), compression="gzip", shuffle=shuffle)
        partly = file.create_dataset("y", (7, 5), dtype, chunks=(2, 2), compression="gzip", fillvalue=1)
        partly[:3, 1] = 0
        for dataset in (packed, partly, file.create_dataset("z", data=values)):
            found = read_array(dataset.id)
            assert found.dtype == dataset.dtype
            np.testing.assert_array_equal(found, dataset[()])


@pytest.mark.parametrize(("mask", "shuffle"), [(0, False), (0, True), (1, True)])
@pytest.mark.parametrize(
    "packed",
    [zlib.compress(bytes(10**6)), zlib.compress(bytes(100)), zlib.compress(bytes(800))[:-2], b"no deflate"],
    ids=["bomb", "short", "cut", "noise"],
)
def test_a_chunk_unpacks_to_what_it_declares_or_is_refused(
    plain: Path, packed: bytes, mask: int, shuffle: bool
) -> None:
    with h5py.File(plain, "r+") as file:
        dataset = file.create_dataset("x", (100,), "f8", chunks=(100,), compression="gzip", shuffle=shuffle)
        dataset.id.write_direct_chunk((0,), packed, mask)
    with open_file(plain, SIMULATOR) as file, pytest.raises(DataError, match="chunk in /x"):
        hdf5.get_array(file, "x")


def test_a_chunk_that_skipped_its_filters_is_read(plain: Path) -> None:
    values = np.random.default_rng(0).random(100)
    with h5py.File(plain, "r+") as file:
        dataset = file.create_dataset("x", (100,), "f8", chunks=(100,), compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((0,), values.tobytes(), 3)
    with open_file(plain, SIMULATOR) as file:
        np.testing.assert_array_equal(hdf5.get_array(file, "x"), values)
