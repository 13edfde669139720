"""Gradient products in a recording's file, read some rows of the pool at a time."""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from gptfl.core.blocked_rows import BlockedRows
from gptfl.store import files, hdf5
from gptfl.store.kinds import DYNAMICS

ELSE = ("runs", "examples")
"""Groups of a recording that take long to look through."""


def stored_products(dataset: h5py.Dataset) -> list[BlockedRows]:
    """The rows of an array (point, example, test) in an open recording, point by point, to be read after that was closed."""
    path, (points, *shape) = hdf5.path_of(dataset), dataset.shape
    name, dtype = dataset.name, dataset.dtype.newbyteorder("=")
    return [_StoredProducts(path, name, place, (shape[0], shape[1]), dtype) for place in range(points)]


class _StoredProducts(BlockedRows):
    """The products of one kind at one point; the file is opened for each reading."""

    def __init__(self, path: Path, name: str, point: int, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.path, self.name, self.point, self.shape, self.dtype = path, name, point, shape, dtype

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row test"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where the file is gone or damaged."""
        with files.open_file(self.path, DYNAMICS, skipped=ELSE) as file:
            return hdf5.get_rows(file[self.name], slice(start, stop), (self.point,))
