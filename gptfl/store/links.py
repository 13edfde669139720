"""What a group of HDF5 lists, found in one go: to ask for one name after the other takes five times as long."""

from urllib.parse import quote, unquote

import h5py

from gptfl.errors import DataError

_PLAIN = " !#$&'()*+,:;=@[]~-_."


def links_in(group: h5py.h5g.GroupID) -> list[tuple[bytes, int]]:
    """Name and type (``h5py.h5l.TYPE_HARD``, ...) of every link of a group, in the order of the names' bytes."""
    found: list[tuple[bytes, int]] = []

    def add(name: bytes, info: h5py.h5l.LinkInfo) -> None:
        found.append((name, info.type))  # the next one comes in the same object

    group.links.iterate(add, info=True)
    return sorted(found)


def encode_name(name: str) -> str:
    """A name as a link name: HDF5 keeps ``/`` and ``.`` for itself, so these are percent-encoded."""
    if not name:
        raise DataError("an array has an empty name", "name it")
    encoded = quote(name, safe=_PLAIN)
    return "%2E" if encoded == "." else encoded


def names_in(group: h5py.Group) -> list[str]:
    """The names in a group, in alphabetical order, as they were given to ``encode_name``."""
    return sorted(unquote(link) for link, _ in links_in(group.id))
