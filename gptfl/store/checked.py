"""A group that was held against its digest, and what was read for that: none of it is read from the file again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import h5py
import numpy as np


@dataclass(frozen=True, slots=True)
class Contents:
    """What lies in a group itself, by name: the values of its attributes, and its arrays with the digests kept there.

    They need not be all.
    """

    values: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    arrays: Mapping[bytes, tuple[h5py.h5d.DatasetID, str]] = field(default_factory=dict)


class Checked(h5py.Group):  # type: ignore[misc]
    """A group with what is known of its contents."""

    def __init__(self, found: h5py.h5g.GroupID, contents: Contents) -> None:
        super().__init__(found)
        self.contents = contents


def known_value(group: h5py.Group, name: str) -> np.ndarray | None:
    """The value of an attribute of a group; None where it wasn't read yet."""
    return group.contents.values.get(name.encode()) if isinstance(group, Checked) else None


def known_array(group: h5py.Group, link: bytes) -> tuple[h5py.h5d.DatasetID, str] | None:
    """An array of a group and the digest that is kept with it; None where it wasn't looked at yet."""
    return group.contents.arrays.get(link) if isinstance(group, Checked) else None
