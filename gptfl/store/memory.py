"""Files in memory, which HDF5 reads and writes like those on disk, and the paths that open files are named by."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
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


class PagedMemory(io.RawIOBase):
    """The same for a file with large holes: memory is taken by what was written alone.

    What wasn't written reads as zeros, or as what is in a file ``before`` it.
    """

    _PAGE = 2**16

    def __init__(self, path: Path, before: IO[bytes] | None = None) -> None:
        super().__init__()
        self.path, self._before = path, before
        self._pages: dict[int, bytearray] = {}
        self._written: list[tuple[int, int]] = []
        self._place = 0
        self._size = 0 if before is None else before.seek(0, io.SEEK_END)

    def __repr__(self) -> str:
        return _MEMORY + quote(os.fsencode(self.path))

    def readable(self) -> bool:
        """It can be read."""
        return True

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def seekable(self) -> bool:
        """It has places."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may lie beyond the end."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """The place it is at."""
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Make it as long; what is new reads as zeros."""
        self._size = self._place if size is None else size
        return self._size

    def readinto(self, room: Any) -> int:
        """Fill ``room`` from the present place on, as far as the file goes."""
        view = memoryview(room).cast("B")
        count = max(0, min(len(view), self._size - self._place))
        for start, stop, page, at in self._pieces(count):
            held = self._pages.get(page)
            view[start:stop] = self._former(page, at, stop - start) if held is None else held[at : at + stop - start]
        self._place += count
        return count

    def write(self, data: Any) -> int:
        """Write at the present place."""
        view = memoryview(data).cast("B")
        self._written.append((self._place, self._place + len(view)))
        for start, stop, page, at in self._pieces(len(view)):
            if page not in self._pages:
                self._pages[page] = bytearray(self._former(page, 0, self._PAGE))
            self._pages[page][at : at + stop - start] = view[start:stop]
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """What was written, and no byte of a hole: each part with its place."""
        place = 0
        for start, stop in sorted(self._written):
            start, stop = max(start, place), min(stop, self._size)
            if start < stop:
                self.seek(start)
                data = bytearray(stop - start)
                self.readinto(data)
                yield start, bytes(data)
                place = stop

    def _former(self, page: int, at: int, count: int) -> bytes:
        """What was in a page before, from a place on."""
        if self._before is None:
            return bytes(count)
        self._before.seek(page * self._PAGE + at)
        return self._before.read(count).ljust(count, b"\0")

    def _pieces(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Where so many bytes from the present place on begin and end, by page: the page's number, and the place in it."""
        done = 0
        while done < count:
            page, at = divmod(self._place + done, self._PAGE)
            stop = min(count, done + self._PAGE - at)
            yield done, stop, page, at
            done = stop


def path_of(group: h5py.Group) -> Path:
    """The file that a group lies in, for messages."""
    name: str = group.file.filename
    return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_MEMORY))) if name.startswith(_MEMORY) else name)
