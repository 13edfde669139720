"""Vectors in a NumPy archive that has too many for memory, read from its beginning to its end."""

import weakref
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BLOCK_BYTES, BlockedRows
from gptfl.errors import DataError


class ArchiveRows(BlockedRows):
    """The rows of one array of an archive, as 32-bit floats times a scale.

    They come quickly in order alone: what is packed has no places, and to go back is to begin anew.
    """

    def __init__(
        self, path: Path, member: str, shape: tuple[int, int], stored: np.dtype, begin: int, scale: float
    ) -> None:
        """Of an array that begins so many bytes into its ``member``."""
        self.path, self.member, self.shape, self.dtype = path, member, shape, np.dtype(np.float32)
        self._stored, self._begin, self._scale = stored, begin, np.float32(scale)
        self._stream: IO[bytes] | None = None
        self._place = 0

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where the archive is damaged or a number isn't finite."""
        width = self.shape[1] * self._stored.itemsize
        try:
            if self._stream is None or self._place > start:
                self._open()
            while self._place < start:
                self._place += len(self._bytes(min(start - self._place, max(1, BLOCK_BYTES // width)) * width)) // width
            data = self._bytes((stop - start) * width)
            self._place = stop
        except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
            raise DataError(f"--sketches {self.path}: {self.member} can't be read ({error})", "get it again") from error
        # What overflows is refused here, as what isn't finite.
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.frombuffer(data, self._stored).reshape(-1, self.shape[1]).astype(np.float32) * self._scale
        if not np.isfinite(values).all():
            name = self.member.removesuffix(".npy")
            raise DataError(f"--sketches {self.path}: {name!r} holds values that are not finite", "sketch them again")
        return values

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places."""
        found = np.empty((len(places), self.shape[1]), np.float32)
        for start, block in self.blocks():
            first, last = np.searchsorted(places, (start, start + len(block)))
            found[first:last] = block[places[first:last] - start]
        return found

    def _open(self) -> None:
        if self._stream is not None:
            self._stream.close()
        with zipfile.ZipFile(self.path) as archive:
            self._stream = archive.open(self.member)
        weakref.finalize(self, self._stream.close)
        self._place = 0
        self._bytes(self._begin)

    def _bytes(self, count: int) -> bytes:
        assert self._stream is not None
        data = self._stream.read(count)
        if len(data) < count:
            raise EOFError("it is truncated")
        return data
