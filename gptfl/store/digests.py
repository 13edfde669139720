"""Digests of what a file holds, by which anything that was changed since it was written is found.

An array has one over its type, shape and values, and a group one over its attributes and the names and digests of its
arrays. Each is an attribute ``digest``, which HDF5 sums up itself. The groups inside a group are not part of its
digest, so that an older gptfl, which writes no digests, may add groups. Files that it made have none and are read as
they are.
"""

import hashlib
from collections.abc import Iterable
from functools import cache

import h5py
import numpy as np

from gptfl.store.checked import Contents
from gptfl.store.links import links_in

_NAME = b"digest"
_BYTES = 16
_LONGEST = 4096
"""Bytes of an attribute; gptfl writes no longer ones."""
_HELD = 256
"""So many arrays of a group stay open at most while it is read."""
_CHANGED = ""
"""No digest is this."""
_DTYPE = np.dtype(f"S{2 * _BYTES}")
_TYPE = h5py.h5t.py_create(_DTYPE)
SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)


def of_array(array: np.ndarray) -> str:
    """The digest of an array."""
    return of_blocks(array.dtype, array.shape, [array])


def of_blocks(dtype: np.dtype, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> str:
    """The digest of an array that comes in consecutive blocks of rows."""
    digest = hashlib.blake2b(f"{dtype.str}{tuple(shape)}".encode(), digest_size=_BYTES)
    for block in blocks:
        digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def put(owner: h5py.h5g.GroupID | h5py.h5d.DatasetID, digest: str) -> None:
    """Keep a digest with what it is of."""
    if h5py.h5a.exists(owner, _NAME):
        h5py.h5a.delete(owner, _NAME)
    h5py.h5a.create(owner, _NAME, _TYPE, SCALAR).write(np.array(digest.encode(), dtype=_DTYPE))


def kept(owner: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> str | None:
    """The digest that is kept with a group or an array; None where there is none."""
    if not h5py.h5a.exists(owner, _NAME):
        return None
    attribute = h5py.h5a.open(owner, _NAME)
    if attribute.get_storage_size() != 2 * _BYTES or not attribute.get_type().equal(_TYPE):
        return _CHANGED
    value = np.empty((), dtype=_DTYPE)
    attribute.read(value, mtype=_TYPE)
    return value.tobytes().decode("ascii", "replace")


def seal(group: h5py.Group) -> None:
    """Keep the digest of a group, unless it has an array without one, as an older gptfl wrote."""
    digest, _ = _taken(group.id)
    if digest != _CHANGED:
        put(group.id, digest)


def seal_new(group: h5py.Group) -> None:
    """Keep the digests of a group and those in it that have none yet."""
    if kept(group.id) is None:
        seal(group)
    for link, _ in links_in(group.id):
        if h5py.h5o.get_info(group.id, link).type == h5py.h5o.TYPE_GROUP:
            seal_new(group[link])


def look(group: h5py.h5g.GroupID) -> tuple[bool, Contents]:
    """Whether the attributes of a group and the names and digests of its arrays are as they were written, and these.

    True, too, where no digest of the group is kept; nothing is read then.
    """
    known = kept(group)
    if known is None:
        return True, Contents()
    digest, contents = _taken(group)
    return known == digest, contents


def _taken(group: h5py.h5g.GroupID) -> tuple[str, Contents]:
    """The digest of a group, ``_CHANGED`` where it can't have one; and what was read for it."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    values: dict[bytes, np.ndarray] = {}
    arrays: dict[bytes, tuple[h5py.h5d.DatasetID, str]] = {}
    names: list[bytes] = []
    h5py.h5a.iterate(group, names.append)
    for name in sorted(names):
        if name == _NAME:
            continue
        value = value_of(h5py.h5a.open(group, name))
        if value is None:
            return _CHANGED, Contents(values)
        values[name] = value
        digest.update(b"%s\0%s\0%s\0" % (name, value.dtype.str.encode(), value.tobytes()))
    for link, _ in links_in(group):
        found = h5py.h5o.open(group, link)
        if isinstance(found, h5py.h5d.DatasetID):
            known = kept(found)
            if not known:
                return _CHANGED, Contents(values)
            if len(arrays) < _HELD:
                arrays[link] = found, known
            digest.update(b"%s\0%s\0" % (link, known.encode()))
    return digest.hexdigest(), Contents(values, arrays)


def value_of(attribute: h5py.h5a.AttrID) -> np.ndarray | None:
    """The value of an attribute of a kind that gptfl writes; None for any other."""
    # The type is looked at before the value: a string of unbounded length would be read whole.
    stored = attribute.get_type()
    dtype = stored.dtype
    if not is_scalar(attribute.get_space()) or dtype.kind not in "biufS" or dtype.itemsize > _LONGEST:
        return None
    value = np.empty((), dtype=dtype)
    # A type that numpy has as it is needs no other, which takes longer to make than all else.
    attribute.read(value, mtype=stored if dtype.kind == "S" else native(dtype))
    return value


def is_scalar(space: h5py.h5s.SpaceID) -> bool:
    """Whether what has this shape is one value; its shape itself takes several times as long to get."""
    return bool(space.get_simple_extent_type() == h5py.h5s.SCALAR)


@cache
def native(dtype: np.dtype) -> h5py.h5t.TypeID:
    """A type of numbers as HDF5 has it."""
    return h5py.h5t.py_create(dtype)
