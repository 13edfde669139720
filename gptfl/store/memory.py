"""Files in memory, which HDF5 reads and writes like those on disk, and the paths that open files are named by."""

import io
import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import h5py

_MEMORY = "memory:"


class Memory(io.BytesIO):
    """A file in memory that knows the path it is meant for."""

    def __init__(self, path: Path, start: bytes = b"") -> None:
        super().__init__(start)
        self.path = path

    def __repr__(self) -> str:
        # h5py calls a file in memory by this, in ASCII.
        return _MEMORY + quote(os.fsencode(self.path))


def path_of(group: h5py.Group) -> Path:
    """The file that a group lies in, for messages."""
    name: str = group.file.filename
    return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_MEMORY))) if name.startswith(_MEMORY) else name)
