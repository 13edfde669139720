"""Unpacks the chunks of an array with a bound: HDF5 itself unpacks to whatever the packed bytes say."""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from gptfl.store.safety import refuse


def check_chunks(dataset: h5py.Dataset, path: Path) -> None:
    """Unpack each chunk of a dataset once, so that none unpacks to more than it declares. Raises ``DataError``."""
    for _ in _chunks(dataset, path):
        pass


def read_array(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    """All values of a dataset, as ``dataset[()]`` would give them; each chunk is unpacked once and with a bound.

    Raises ``DataError`` as ``check_chunks`` does.
    """
    dtype = dataset.dtype
    stored = dataset.id.get_type()
    if dataset.chunks is None or dtype.kind not in "iuf" or not stored.equal(h5py.h5t.py_create(dtype)):
        check_chunks(dataset, path)
        return np.asarray(dataset[()])
    array = np.full(dataset.shape, dataset.fillvalue, dtype) if dataset.fillvalue else np.zeros(dataset.shape, dtype)
    for start, block, shuffled in _chunks(dataset, path):
        values = np.frombuffer(_in_order(block, dtype.itemsize) if shuffled else block, dtype)
        place = tuple(slice(at, at + size) for at, size in zip(start, dataset.chunks, strict=True))
        room = array[place]
        room[...] = values.reshape(dataset.chunks)[tuple(map(slice, room.shape))]
    return array


def _chunks(dataset: h5py.Dataset, path: Path) -> Iterator[tuple[tuple[int, ...], bytes, bool]]:
    """(first index, unpacked bytes, whether they are shuffled) of each stored chunk."""
    if dataset.chunks is None:
        return
    limit = math.prod(dataset.chunks) * dataset.dtype.itemsize
    chunks: list[h5py.h5d.StoreInfo] = []
    dataset.id.chunk_iter(chunks.append)
    # Filters that a chunk skipped are the bits of its mask, in the order of the pipeline.
    shuffle = 1 if dataset.shuffle else 0
    deflate = 0 if dataset.compression is None else 2 if dataset.shuffle else 1
    for chunk in chunks:
        if chunk.size > limit + limit // 100 + 64:
            raise refuse(path, f"has a chunk in {dataset.name} that is larger than declared")
        skipped, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        block = _unpacked(packed, limit) if deflate & ~skipped else packed
        if block is None or len(block) != limit:
            raise refuse(path, f"has a chunk in {dataset.name} that does not unpack to what it declares")
        yield chunk.chunk_offset, block, bool(shuffle & ~skipped)


def _in_order(block: bytes, itemsize: int) -> np.ndarray:
    """The bytes of values, which are shuffled so that the first ones of all come first, then the second ones, ..."""
    shuffled = np.frombuffer(block, np.uint8).reshape(itemsize, -1)
    ordered = np.empty(shuffled.shape[::-1], np.uint8)
    for place, row in enumerate(shuffled):  # several times as fast as to copy the transposed array
        ordered[:, place] = row
    return ordered.reshape(-1)


def _unpacked(packed: bytes, limit: int) -> bytes | None:
    """What a chunk unpacks to, no further than just past ``limit``; None if it is damaged."""
    unpacker = zlib.decompressobj()
    try:
        block = unpacker.decompress(packed, limit + 1)
    except zlib.error:
        return None
    return block if unpacker.eof or len(block) > limit else None
