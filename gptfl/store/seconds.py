"""How long something took, kept with what it made."""

import math

import h5py

from gptfl.store import hdf5
from gptfl.store.memory import path_of
from gptfl.store.safety import refuse


def put_seconds(group: h5py.Group, seconds: float | None) -> None:
    """Keep how long something took as the attribute ``seconds``; nothing where that isn't known."""
    if seconds is not None:
        hdf5.put_number(group, "seconds", float(seconds))


def get_seconds(group: h5py.Group) -> float | None:
    """Read what ``put_seconds`` kept. Raises ``DataError`` for what is no length of time."""
    if not h5py.h5a.exists(group.id, b"seconds"):
        return None
    seconds = hdf5.get_float(group, "seconds")
    if not 0 <= seconds < math.inf:
        raise refuse(path_of(group), f"says at {group.name} that it took {seconds} seconds")
    return seconds
