"""Vectors in a features file, read some rows at a time for as long as someone holds them."""

import os
import weakref
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BLOCK_BYTES, BlockedRows
from gptfl.errors import DataError
from gptfl.store import digests, files, hdf5
from gptfl.store.kinds import FEATURES

_NEAR = 64
"""Rows that lie no further apart are read in one piece: to skip so few takes longer than to read them."""


def stored_rows(path: Path, dataset: h5py.Dataset) -> BlockedRows:
    """The rows of an array in an open features file, to be read after that was closed, too.

    Raises ``DataError`` where it can't be opened again.
    """
    plan, place = dataset.id.get_create_plist(), dataset.id.get_offset()
    if plan.get_layout() == h5py.h5d.CONTIGUOUS and place is not None:
        found: BlockedRows = _FlatRows(path, place, dataset.shape, dataset.dtype)
    else:
        found = _PackedRows(path, dataset.name, dataset.shape, dataset.dtype)
    found.digest = digests.kept(dataset.id)
    return found


class _FlatRows(BlockedRows):
    """Rows that lie in a file one after the other."""

    def __init__(self, path: Path, place: int, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.path, self.place, self.shape, self.dtype = path, place, shape, dtype.newbyteorder("=")
        self._stored = dtype
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{path} can't be read ({error.strerror})", "check the path") from error
        weakref.finalize(self, os.close, self._handle)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where the file has become shorter."""
        found = np.empty((stop - start, self.shape[1]), self._stored)
        room = found.reshape(-1).view(np.uint8).data
        place, done = self.place + start * self.shape[1] * self.dtype.itemsize, 0
        while done < len(room):
            data = os.pread(self._handle, min(len(room) - done, BLOCK_BYTES), place + done)
            if not data:
                raise DataError(f"{self.path} has become shorter", "make it again")
            room[done : done + len(data)] = data
            done += len(data)
        return found.astype(self.dtype, copy=False)

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        for first, last in _pieces(places, BLOCK_BYTES // max(1, self.shape[1] * self.dtype.itemsize)):
            begin = int(places[first])
            rows = self.read(begin, int(places[last - 1]) + 1)
            found[first:last] = rows[places[first:last] - begin]
        return found


class _PackedRows(BlockedRows):
    """Rows in packed chunks; the file is opened for each reading."""

    def __init__(self, path: Path, name: str, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.path, self.name, self.shape, self.dtype = path, name, shape, dtype.newbyteorder("=")

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where the file is gone or damaged."""
        with files.open_file(self.path, FEATURES, max_bytes=files.whole(self.path)) as file:
            return hdf5.get_rows(file[self.name], slice(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        most = max(1, BLOCK_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        with files.open_file(self.path, FEATURES, max_bytes=files.whole(self.path)) as file:
            dataset = file[self.name]
            for number in np.unique(places // most):
                first, last = np.searchsorted(places, (number * most, (number + 1) * most))
                rows = hdf5.get_rows(dataset, slice(int(number) * most, int(number + 1) * most))
                found[first:last] = rows[places[first:last] - number * most]
        return found


def _pieces(places: Int[np.ndarray, " row"], most: int) -> list[tuple[int, int]]:
    """Where pieces of ascending places begin and end that are read at once: near one another, and ``most`` rows at most."""
    if not len(places):
        return []
    # Whatever lies far from the one before it begins a piece, and so does the first in each stretch of so many rows.
    begins = (np.diff(places, prepend=-_NEAR - 1) > _NEAR) | (np.diff(places // max(most, 1), prepend=-1) != 0)
    first = np.flatnonzero(begins)
    return list(zip(first.tolist(), [*first[1:].tolist(), len(places)], strict=True))
