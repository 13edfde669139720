"""Holds a file of unknown origin against what gptfl itself writes, before anything large is read.

HDF5 can point at other files, run plug-in filters, hold pointers to objects of any length and
declare terabytes in a few bytes. gptfl writes none of that, so a file that has it is refused.
"""

import math
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from gptfl.errors import DataError

MAX_BYTES = 4 * 2**30
"""All datasets of one file together, unpacked."""
MAX_CHUNK = 64 * 2**20
MAX_RATIO = 1100
"""Deflate packs at most 1032 to 1; what declares more than this was not written by gptfl."""
MAX_OBJECTS = 1_000_000
MAX_DEPTH = 6

_FILTERS: tuple[list[int], ...] = (
    [],
    [h5py.h5z.FILTER_DEFLATE],
    [h5py.h5z.FILTER_SHUFFLE],
    [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE],
)
_REMEDY = "gptfl writes no such file: get it again from where it was made"


def refuse(path: Path, what: str) -> DataError:
    """The error for a file that gptfl can't have written."""
    return DataError(f"{path} {what}", _REMEDY)


Sizes = Mapping[int, tuple[int, int]]
"""Bytes unpacked and bytes stored of the arrays of a file, by their address in it."""


def check_contents(
    file: h5py.File,
    path: Path,
    size: int,
    max_bytes: int = MAX_BYTES,
    known: Sizes | None = None,
    skipped: Collection[str] = (),
) -> Sizes:
    """Walk every object of a file of ``size`` bytes, reading no data, and return what its arrays take.

    ``known`` are arrays that were checked before. What is in the groups ``skipped`` at the root is left unchecked, for
    a caller who doesn't look into them. Raises ``DataError`` on the first thing that gptfl doesn't write.
    """
    declared = stored = 0
    sizes: dict[int, tuple[int, int]] = {}
    for address, group, name, where in _datasets(file, path, skipped):
        taken = known.get(address) if known else None
        sizes[address] = taken or _check_dataset(h5py.h5d.open(group, name), path, where)
        unpacked, packed = sizes[address]
        declared += unpacked
        stored += packed
        if declared > max_bytes:
            raise DataError(
                f"{path} holds more than {max_bytes / 2**30:g} GiB unpacked",
                "gptfl reads no file that large: record fewer runs, steps or test examples, or smaller features",
            )
    if stored > size:
        raise refuse(path, "declares more data than it holds")
    return sizes


def _datasets(
    file: h5py.File, path: Path, skipped: Collection[str]
) -> Iterator[tuple[int, h5py.h5g.GroupID, bytes, str]]:
    """Address, group, name and path of every array."""
    seen: set[int] = set()
    waiting = [(file.id, "", 0)]
    while waiting:
        group, prefix, depth = waiting.pop()
        for name in group:
            where = f"{prefix}/{ascii(name)[2:-1]}"
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                raise refuse(path, f"has at {where} a link to elsewhere")
            info = h5py.h5o.get_info(group, name)
            if info.addr in seen or len(seen) >= MAX_OBJECTS:
                raise refuse(path, f"has at {where} one object too many")
            seen.add(info.addr)
            if info.type == h5py.h5o.TYPE_DATASET:
                yield info.addr, group, name, where
            elif info.type == h5py.h5o.TYPE_GROUP and depth < MAX_DEPTH:
                if depth or where[1:] not in skipped:
                    waiting.append((h5py.h5g.open(group, name), where, depth + 1))
            else:
                raise refuse(path, f"has at {where} neither an array nor a group")


def _check_dataset(dataset: h5py.h5d.DatasetID, path: Path, where: str) -> tuple[int, int]:
    """Bytes unpacked and bytes stored of one dataset that may be read."""
    plan = dataset.get_create_plist()
    if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED) or plan.get_external_count():
        raise refuse(path, f"keeps the data of {where} elsewhere")
    if [plan.get_filter(i)[0] for i in range(plan.get_nfilters())] not in _FILTERS:
        raise refuse(path, f"packs {where} with a filter other than gzip")
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError) as error:
        raise refuse(path, f"has at {where} values of an unknown type") from error
    shape = dataset.shape
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise refuse(path, f"has at {where} no values at all")
    if dtype.kind not in "biuf" and not (dtype.kind == "S" and shape == ()):
        raise refuse(path, f"has at {where} values that are not numbers ({dtype})")
    unpacked = math.prod(shape) * dtype.itemsize
    stored = dataset.get_storage_size()
    if unpacked > MAX_RATIO * stored:
        raise refuse(path, f"declares {unpacked:,} bytes at {where} and holds {stored:,}")
    if plan.get_layout() == h5py.h5d.CHUNKED and math.prod(plan.get_chunk()) * dtype.itemsize > MAX_CHUNK:
        raise refuse(path, f"has at {where} chunks of more than {MAX_CHUNK // 2**20} MiB")
    return unpacked, stored


def check_chunks(dataset: h5py.Dataset, path: Path) -> None:
    """Unpack each chunk of a dataset once with a bound, so that none unpacks to more than it declares.

    HDF5 itself unpacks to whatever the packed bytes say. Raises ``DataError``.
    """
    if dataset.chunks is None:
        return
    limit = math.prod(dataset.chunks) * dataset.dtype.itemsize
    chunks: list[h5py.h5d.StoreInfo] = []
    dataset.id.chunk_iter(chunks.append)
    # Filters that a chunk skipped are the bits of its mask, in the order of the pipeline.
    deflate = 0 if dataset.compression is None else 2 if dataset.shuffle else 1
    for chunk in chunks:
        if chunk.size > limit + limit // 100 + 64:
            raise refuse(path, f"has a chunk in {dataset.name} that is larger than declared")
        skipped, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        unpacked = _unpacked_size(packed, limit) if deflate & ~skipped else len(packed)
        if unpacked != limit:
            raise refuse(path, f"has a chunk in {dataset.name} that does not unpack to what it declares")


def _unpacked_size(packed: bytes, limit: int) -> int:
    """Bytes that a chunk unpacks to, stopping just past ``limit``; -1 if it is damaged."""
    unpacker = zlib.decompressobj()
    try:
        size = len(unpacker.decompress(packed, limit + 1))
    except zlib.error:
        return -1
    return size if unpacker.eof or size > limit else -1


def numbers(array: np.ndarray, what: str) -> np.ndarray:
    """The array if it holds plain numbers of a type that a file can keep, else ``DataError``."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{what} is an array of {array.dtype}", "only arrays of integers, floats and booleans are kept")
    return array
