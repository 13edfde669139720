"""Holds a file of unknown origin against what gptfl itself writes, before anything large is read.

HDF5 can point at other files, run plug-in filters, hold pointers to objects of any length and
declare terabytes in a few bytes. gptfl writes none of that, so a file that has it is refused.
"""

import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from gptfl.errors import DataError
from gptfl.store.links import links_in
from gptfl.store.unpacked import TRUST as TRUST
from gptfl.store.unpacked import is_trusted as is_trusted

MAX_BYTES = 4 * 2**30
"""All datasets of one file together, unpacked."""
MAX_CHUNK = 64 * 2**20
MAX_RATIO = 1100
"""Deflate packs at most 1032 to 1; what declares more than this was not written by gptfl."""
MAX_OBJECTS = 1_000_000
MAX_DEPTH = 6
FREE_BYTES, FREE_RATIO = 64 * 2**20, 16
"""A file may unpack to so many bytes, and beyond them to so many times its size: 4 MB can't unpack to 4 GB."""
OBJECT_BYTES = 16 * 2**10
"""An array or group counts as so many bytes, which take as long to unpack as it takes to look at."""
_OLD_GROUP = 1 << 17
"""The message of a symbol table, which takes several times as long to read."""
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
"""Bytes unpacked and bytes stored of the arrays of a file, by their address in it; groups take none."""


def check_contents(
    file: h5py.File,
    path: Path,
    size: int,
    max_bytes: int = MAX_BYTES,
    known: Sizes | None = None,
    skipped: Collection[str] = (),
    bounded: bool = True,
) -> Sizes:
    """What the arrays of a file take, after a walk over every object that reads no data.

    Args:
        file: open to read.
        path: of the file, for messages.
        size: its bytes.
        max_bytes: at most so many bytes may be unpacked.
        known: arrays that were checked before.
        skipped: groups at the root that are left unchecked, for a caller who doesn't look into them.
        bounded: whether there may only be so many objects as ``check_unpacked`` allows a file of that size.

    Raises ``DataError`` on the first thing that gptfl doesn't write.
    """
    declared = stored = 0
    sizes: dict[int, tuple[int, int]] = {}
    most = MAX_OBJECTS
    if bounded and not is_trusted():
        most = min(most, (FREE_BYTES + FREE_RATIO * size) // OBJECT_BYTES)
    for address, group, name, where in _objects(file, path, skipped, most):
        if name is None:
            sizes[address] = 0, 0
            continue
        taken = known.get(address) if known else None
        sizes[address] = taken or check_dataset(h5py.h5d.open(group, name), path, where)
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


def counted(sizes: Sizes) -> int:
    """The bytes that the contents of a file count as, objects and all."""
    return sum(unpacked for unpacked, _ in sizes.values()) + len(sizes) * OBJECT_BYTES


def check_unpacked(path: Path, declared: int, size: int) -> None:
    """Raise ``DataError`` where a file of ``size`` bytes unpacks to more than one of that size may."""
    if declared <= FREE_BYTES or is_trusted():
        return
    # Holes take no room on the disk, and nothing to send.
    if lacking(declared, size) or lacking(declared, _held(path, size)):
        raise _too_much(path, declared, size)


def _too_much(path: Path, declared: int, size: int) -> DataError:
    return DataError(
        f"{path} of {size:,} bytes unpacks to {declared:,} ({OBJECT_BYTES:,} an object counted), more than "
        f"{FREE_BYTES >> 20} MiB and {FREE_RATIO} times its size",
        f"get it again from where it was made; if you trust whoever made it, set {TRUST}=1",
    )


@dataclass
class Together:
    """What the files of a folder, each an object itself, unpack to together: no more than one file of all their sizes.

    What is written to lie among others has to be within that whatever the others are, by ``lacking_among``.
    """

    folder: Path
    declared: int = 0
    size: int = 0

    def begin(self) -> None:
        """Count a file before it is opened. Raises ``DataError`` where they are too many for their size."""
        self.declared += OBJECT_BYTES
        self.check()

    def add(self, path: Path, declared: int, size: int) -> None:
        """Count what a file that was begun with unpacks to."""
        self.declared += declared
        self.size += min(size, _held(path, size))

    def check(self) -> None:
        """Raise ``DataError`` where they unpack to more than they may."""
        if lacking(self.declared, self.size) and not is_trusted():
            raise _too_much(self.folder, self.declared, self.size)


def lacking_among(declared: int, size: int) -> int:
    """By how many bytes a file of ``size`` bytes is too small to unpack to so many where it is one of many."""
    return lacking(declared + OBJECT_BYTES + FREE_BYTES, size)


def lacking(declared: int, size: int) -> int:
    """By how many bytes a file of ``size`` bytes is too small to unpack to so many."""
    return max(0, -(-(declared - FREE_BYTES) // FREE_RATIO) - size)


def _held(path: Path, size: int) -> int:
    """Bytes of a file that are not in holes."""
    held = end = 0
    with path.open("rb") as file:
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            except OSError:  # no data behind here
                break
            held += end - start
    return held


def _objects(
    file: h5py.File, path: Path, skipped: Collection[str], most: int
) -> Iterator[tuple[int, h5py.h5g.GroupID, bytes | None, str]]:
    """Address, group, name and path of every array, and of every group without its name."""
    seen: set[int] = set()
    waiting = [(file.id, "", 0)]
    announced = 0
    while waiting:
        group, prefix, depth = waiting.pop()
        # Told before any is looked at, since that takes its time.
        announced += group.get_num_objs()
        if announced > most:
            raise refuse(path, f"has at {prefix or '/'} more than {most:,} objects, too many for its size")
        for name, kind in links_in(group):
            where = f"{prefix}/{ascii(name)[2:-1]}"
            if kind != h5py.h5l.TYPE_HARD:
                raise refuse(path, f"has at {where} a link to elsewhere")
            info = h5py.h5o.get_info(group, name)
            if info.addr in seen:
                raise refuse(path, f"has at {where} one object too many")
            seen.add(info.addr)
            if info.hdr.mesg.present & _OLD_GROUP:
                raise refuse(path, f"has at {where} a group of the form that HDF5 had before 1.10")
            if info.type == h5py.h5o.TYPE_DATASET:
                yield info.addr, group, name, where
            elif info.type == h5py.h5o.TYPE_GROUP and depth < MAX_DEPTH:
                yield info.addr, group, None, where
                if depth or where[1:] not in skipped:
                    waiting.append((h5py.h5g.open(group, name), where, depth + 1))
            else:
                raise refuse(path, f"has at {where} neither an array nor a group")


def check_dataset(dataset: h5py.h5d.DatasetID, path: Path, where: str) -> tuple[int, int]:
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
    space = dataset.get_space()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise refuse(path, f"has at {where} no values at all")
    shape = space.shape
    if (dtype.kind not in "biuf" or dtype.itemsize > 8) and not (dtype.kind == "S" and shape == ()):
        raise refuse(path, f"has at {where} values that are not numbers ({dtype})")
    unpacked = math.prod(shape) * dtype.itemsize
    stored = dataset.get_storage_size()
    if unpacked > MAX_RATIO * stored:
        raise refuse(path, f"declares {unpacked:,} bytes at {where} and holds {stored:,}")
    if plan.get_layout() == h5py.h5d.CHUNKED and math.prod(plan.get_chunk()) * dtype.itemsize > MAX_CHUNK:
        raise refuse(path, f"has at {where} chunks of more than {MAX_CHUNK // 2**20} MiB")
    return unpacked, stored


def numbers(array: np.ndarray, what: str) -> np.ndarray:
    """The array if it holds plain numbers of a type that a file can keep, else ``DataError``."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{what} is an array of {array.dtype}", "only arrays of integers, floats and booleans are kept")
    return array
