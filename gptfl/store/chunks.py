"""Packs arrays in chunks, and unpacks these with a bound: HDF5 itself unpacks to whatever the packed bytes say."""

import math
import zlib
from collections.abc import Iterable, Iterator

import h5py
import numpy as np

from gptfl.errors import DataError
from gptfl.store.digests import native
from gptfl.store.memory import path_of
from gptfl.store.safety import refuse

_CHUNK = 2**20
"""So many bytes of an array are packed together at most, unless one value is larger."""


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The largest block of whole trailing axes that fits a chunk, at least one value."""
    chunks = list(shape)
    for axis in range(len(chunks)):
        rest = math.prod(chunks) // chunks[axis] * itemsize
        chunks[axis] = max(1, min(chunks[axis], _CHUNK // rest))
        if rest <= _CHUNK:
            break
    return tuple(chunks)


def write_array(
    group: h5py.h5g.GroupID, link: bytes, array: np.ndarray, chunks: tuple[int, ...] | None
) -> h5py.h5d.DatasetID:
    """A new array of a group, packed with gzip where it is cut into chunks.

    Args:
        group: where it is made.
        link: its name there, encoded.
        array: its values.
        chunks: the shape of a chunk, None for one piece that isn't packed.
    """
    dataset = create_array(group, link, array.shape, array.dtype, chunks)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.asarray(array, order="C"))
    return dataset


def create_array(
    group: h5py.h5g.GroupID, link: bytes, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...] | None
) -> h5py.h5d.DatasetID:
    """A new array of a group that has no values yet, to be packed as in ``write_array``.

    Args:
        group: where it is made.
        link: its name there, encoded.
        shape: its axes.
        dtype: of its values.
        chunks: the shape of a chunk, None for one piece that isn't packed.
    """
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunks is not None:
        plan.set_chunk(chunks)
        plan.set_fill_time(h5py.h5d.FILL_TIME_IFSET)
        plan.set_shuffle()
        plan.set_deflate(1)
    plan.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(group, link, h5py.h5t.py_create(dtype, logical=True), space, dcpl=plan)


def check_chunks(dataset: h5py.h5d.DatasetID) -> None:
    """Unpack each chunk of a dataset once, so that none unpacks to more than it declares. Raises ``DataError``."""
    plan = dataset.get_create_plist()
    if plan.get_layout() == h5py.h5d.CHUNKED:
        for _ in _unpacked_chunks(dataset, plan, _stored_chunks(dataset)):
            pass


def read_array(dataset: h5py.h5d.DatasetID) -> np.ndarray:
    """All values of a dataset, as HDF5 would give them; each chunk is unpacked once and with a bound.

    Raises ``DataError`` as ``check_chunks`` does.
    """
    dtype, plan = dataset.dtype, dataset.get_create_plist()
    is_chunked = plan.get_layout() == h5py.h5d.CHUNKED
    is_text = dtype.kind == "S" and dataset.shape == ()
    is_plain = dtype.kind in "iuf" and dataset.get_type().equal(native(dtype))
    if not is_chunked or not is_plain:
        check_chunks(dataset)
        if is_text or is_plain:
            # By a short way, since every file has some of these.
            value = np.empty(dataset.shape, dtype)
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, value, mtype=dataset.get_type())
            return value
        return np.asarray(h5py.Dataset(dataset)[()])
    shape, sizes = dataset.shape, plan.get_chunk()
    array = np.zeros(shape, dtype)
    chunks = _stored_chunks(dataset)
    if len(chunks) < math.prod(-(-length // size) for length, size in zip(shape, sizes, strict=True)):
        array[...] = h5py.Dataset(dataset).fillvalue
    for start, block, shuffled in _unpacked_chunks(dataset, plan, chunks):
        values = np.frombuffer(_in_order(block, dtype.itemsize) if shuffled else block, dtype)
        room = array[tuple(slice(at, at + size) for at, size in zip(start, sizes, strict=True))]
        room[...] = values.reshape(sizes)[tuple(map(slice, room.shape))]
    return array


def _stored_chunks(dataset: h5py.h5d.DatasetID) -> list[h5py.h5d.StoreInfo]:
    chunks: list[h5py.h5d.StoreInfo] = []
    dataset.chunk_iter(chunks.append)
    return chunks


def _unpacked_chunks(
    dataset: h5py.h5d.DatasetID, plan: h5py.h5p.PropDCID, chunks: Iterable[h5py.h5d.StoreInfo]
) -> Iterator[tuple[tuple[int, ...], bytes, bool]]:
    """(first index, unpacked bytes, whether they are shuffled) of each stored chunk."""
    limit = math.prod(plan.get_chunk()) * dataset.dtype.itemsize
    # Filters that a chunk skipped are the bits of its mask, in the order of the pipeline.
    filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
    shuffle = 1 << filters.index(h5py.h5z.FILTER_SHUFFLE) if h5py.h5z.FILTER_SHUFFLE in filters else 0
    deflate = 1 << filters.index(h5py.h5z.FILTER_DEFLATE) if h5py.h5z.FILTER_DEFLATE in filters else 0
    for chunk in chunks:
        if chunk.size > limit + limit // 100 + 64:
            raise _refused(dataset, "is larger than declared")
        skipped, packed = dataset.read_direct_chunk(chunk.chunk_offset)
        block = _unpacked(packed, limit) if deflate & ~skipped else packed
        if block is None or len(block) != limit:
            raise _refused(dataset, "does not unpack to what it declares")
        yield chunk.chunk_offset, block, bool(shuffle & ~skipped)


def _refused(dataset: h5py.h5d.DatasetID, what: str) -> DataError:
    found = h5py.Dataset(dataset)
    return refuse(path_of(found), f"has a chunk in {found.name} that {what}")


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
