"""Files whose arrays are too large for memory: what describes them is made in memory, their values go straight to the disk.

HDF5 doesn't recover from a full disk, so that it never writes to one here: it lays out a file in which the large arrays
have their places and no values, and plain writes put these there, as they do all the rest.
"""

import hashlib
import io
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

import h5py
import numpy as np

from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.store import digests
from gptfl.store.chunks import chunk_shape, create_array
from gptfl.store.deferred import check_unchanged, raise_deferred
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.files import check_signature, checked, opened_file, put_header
from gptfl.store.links import encode_name
from gptfl.store.memory import PagedMemory
from gptfl.store.safety import Sizes, check_contents, check_unpacked, counted, lacking, numbers


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file that is being made; ``file`` takes what is small, by the functions of ``hdf5``."""

    file: h5py.File
    disk: IO[bytes]

    def put_rows(
        self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[np.ndarray]
    ) -> None:
        """Keep an array whose rows come in consecutive blocks, unpacked and in one piece.

        Args:
            group: where it goes.
            name: what it is called there.
            shape: its axes; rows are along the last one.
            dtype: of its numbers.
            blocks: all rows, in order.

        Raises ``DataError`` for other than numbers and ``OSError`` where the disk is full.
        """
        numbers(np.empty(0, dtype), name)
        with uninterrupted():
            dataset = _laid_out(group, name, shape, dtype)
        place, rows = dataset.get_offset(), 0
        digest = hashlib.blake2b(f"{dtype.str}{tuple(shape)}".encode(), digest_size=16)
        for block in blocks:
            data = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data
            digest.update(data)
            if math.prod(shape):
                self.disk.seek(place)
                self.disk.write(data)
                place += len(data)
            rows += math.prod(block.shape[:-1])
        expected = math.prod(shape[:-1])
        if rows != expected:
            raise DataError(f"{name} has {rows} rows and not {expected}", "give as many as there are examples")
        with uninterrupted():
            digests.put(dataset, digest.hexdigest())

    def put_unknown(self, group: h5py.Group, name: str, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        """Keep an array of which nothing is known: all NaN, packed, since that takes next to nothing.

        Args:
            group: where it goes.
            name: what it is called there.
            shape: its axes.
            dtype: of floats.
        """
        chunks = chunk_shape(shape, dtype.itemsize)
        dataset = create_array(group.id, encode_name(name).encode(), shape, dtype, chunks)
        # A chunk at a time in order, so that none is packed twice.
        nothing = np.full((chunks[1], shape[2]), np.nan, dtype)
        places = [(point, start) for point in range(shape[0]) for start in range(0, shape[1], chunks[1])]
        parts = [nothing[: shape[1] - start] for _, start in places]
        for (point, start), part in zip(places, parts, strict=True):
            with uninterrupted():
                h5py.Dataset(dataset)[point, start : start + len(part)] = part
        with uninterrupted():
            digests.put(dataset, digests.of_blocks(dtype, shape, parts))


def _laid_out(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.h5d.DatasetID:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    kind = h5py.h5t.py_create(dtype, logical=True)
    return h5py.h5d.create(group.id, encode_name(name).encode(), kind, h5py.h5s.create_simple(shape), dcpl=plan)


@contextmanager
def create_large(
    path: Path, kind: str, *, settings: Mapping[str, Any], inputs: Mapping[str, str], max_bytes: int = sys.maxsize
) -> Iterator[LargeFile]:
    """A new file to fill, which takes its name, whole, when the block ends without an exception.

    Args:
        path: of the file.
        kind: what it holds, one of ``KINDS``.
        settings: by which it was made; small values of JSON.
        inputs: fingerprints of what it was made from, by name.
        max_bytes: to how many bytes its readers let it unpack.

    Raises ``DataError`` if it is larger than that and ``ResourceError`` if it can't be written; a file of that name is
    then untouched.
    """
    path = Path(path)
    try:
        with part_of(path) as part:
            with part.open("r+b") as disk:
                memory = PagedMemory(path)
                with opened_file(path, memory, "w") as file:
                    with uninterrupted():
                        put_header(file, kind, settings, inputs)
                    yield LargeFile(file, disk)
                    with uninterrupted():
                        sizes = _sealed(file, path, memory, disk, max_bytes)
                _fill(disk, memory, sizes)
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def amend_large(path: Path, kind: str, max_bytes: int = sys.maxsize) -> Iterator[LargeFile]:
    """A file to change; a copy of it takes the name when the block ends. Neither is in memory, but for what is changed.

    Raises as ``files.amend`` and ``create_large`` do; at every moment the name holds a whole file.
    """
    path = Path(path)
    size = check_signature(path)
    try:
        with part_of(path) as part, path.open("rb") as before:
            shutil.copyfile(path, part)
            with part.open("r+b") as disk:
                memory = PagedMemory(path, before)
                with opened_file(path, memory, "r+") as file, raise_deferred(file):
                    with uninterrupted(), checked(file, path, kind):
                        known = check_contents(file, path, size)
                        check_unpacked(path, counted(known), size)
                    yield LargeFile(file, disk)
                    with uninterrupted():
                        check_unchanged(file)
                        sizes = _sealed(file, path, memory, disk, max_bytes, known)
                _fill(disk, memory, sizes)
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _sealed(
    file: h5py.File, path: Path, memory: PagedMemory, disk: IO[bytes], max_bytes: int, known: Sizes | None = None
) -> Sizes:
    """What a file's contents take, whose digests are put there; what was ``known`` before isn't looked at again.

    Args:
        file: that is made.
        path: of it, for messages.
        memory: what describes its contents.
        disk: their values.
        max_bytes: to how many its readers let it unpack.
        known: arrays that were checked before.
    """
    digests.seal_new(file)
    digests.seal(file)
    file.flush()
    most = disk.seek(0, io.SEEK_END) + memory.seek(0, io.SEEK_END)
    return check_contents(file, path, most, max_bytes=max_bytes, known=known, bounded=False)


def _fill(disk: IO[bytes], memory: PagedMemory, sizes: Sizes) -> None:
    """Put what describes the values beside them on the disk, and flush it all. Raises ``OSError``."""
    for place, part_of_file in memory.parts():
        disk.seek(place)
        disk.write(part_of_file)
    end = disk.truncate(memory.seek(0, io.SEEK_END))
    # What packs very well is followed by noise, so that the file is not taken for a bomb.
    disk.seek(end)
    disk.write(Random(0).randbytes(lacking(counted(sizes), end)))
    disk.flush()
    os.fsync(disk.fileno())
