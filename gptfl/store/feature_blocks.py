"""Vectors of an unfinished features file: blocks of examples, each in a small features file of its own beside where that goes.

A block takes its name whole, so that a command that is killed loses no more than the one that it was at.
"""

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, FeatureSet
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.store.durable import cannot_write
from gptfl.store.features import read_feature_rows, write_features

TAIL = ".blocks-"
"""What stands between the name of a features file and of the work that its blocks are of."""


class FeatureBlocks:
    """The blocks of one piece of work, in a folder that is made with the first.

    ``work`` is the fingerprint of all that determines the vectors: a block of other work is none of these. With ``packed``
    blocks are smaller, and take several times as long to write.
    """

    def __init__(
        self, target: Path, encoder: str, identity: Mapping[str, Any], work: str, *, packed: bool = True
    ) -> None:
        self.folder, self.packed = target.with_name(f"{target.name}{TAIL}{work}"), packed
        self.target, self.encoder, self.identity, self.work = target, encoder, identity, work

    def keep(self, number: int, sets: Mapping[str, FeatureSet], seconds: float, keys: Sequence[Sequence[str]]) -> None:
        """Write a block, so that it lasts.

        Args:
            number: of the block.
            sets: its vectors.
            seconds: that they took.
            keys: of the training and of the test example behind each row.

        Raises ``ResourceError`` where it can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        features = Features(self.encoder, self.identity, self.work, sets, seconds)
        write_features(self._path(number), features, *keys, packed=self.packed)

    def find(self, number: int, keys: Sequence[Sequence[str]]) -> Features | None:
        """A block; None where it isn't there.

        Args:
            number: of the block.
            keys: of the training and of the test example behind each row.

        Raises ``DataError`` for one that is damaged, or of other examples or settings.
        """
        if not self._path(number).exists():
            return None
        features, *found = self.with_keys(number)
        if [*map(list, found)] != [*map(list, keys)]:
            raise self.foreign(number)
        return features

    def with_keys(self, number: int) -> tuple[Features, tuple[str, ...], tuple[str, ...]]:
        """A block that is there, and the keys of the training and of the test example behind each row.

        Raises ``DataError`` for one that is damaged, or of other settings.
        """
        features, pool, test = read_feature_rows(self._path(number))
        whose = features.encoder, features.examples, dict(features.identity)
        if whose != (self.encoder, self.work, dict(self.identity)):
            raise self.foreign(number)
        return features, pool, test

    def foreign(self, number: int) -> DataError:
        """The error of a block that isn't of this work."""
        return DataError(f"{self._path(number)} holds vectors of other examples or settings", "delete it")

    def numbers(self) -> list[int]:
        """Of the blocks that are there."""
        found = [re.fullmatch(r"block-(\d+)\.h5", path.name) for path in self.folder.glob("block-*.h5")]
        return sorted(int(one[1]) for one in found if one)

    def read(self, number: int, only: Collection[str] | None = None) -> Mapping[str, FeatureSet]:
        """The vectors of a block, those of the sets ``only`` where that is given. Raises ``DataError`` where it can't be read."""
        return read_feature_rows(self._path(number), only=only)[0].sets

    def delete(self, number: int) -> None:
        """Delete a block that is no use; one that can't be deleted stays."""
        with suppress(OSError):
            self._path(number).unlink()

    def remove(self) -> None:
        """Delete all blocks: the features file has their vectors."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def others(self) -> list[Path]:
        """The folders with blocks of other work on the same features file."""
        with suppress(OSError):
            found = self.target.parent.iterdir()
            start = f"{self.target.name}{TAIL}"
            return sorted(path for path in found if path.name.startswith(start) and path != self.folder)
        return []

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.h5"


class RowsOfBlocks(BlockedRows):
    """The training examples' rows of one set in consecutive blocks, one after the other."""

    def __init__(
        self, kept: FeatureBlocks, name: str, ends: Int[np.ndarray, " block"], width: int, first: int = 0
    ) -> None:
        """Of the set ``name``, ``width`` numbers wide, from the block ``first`` on.

        ``ends`` are how many rows there are up to each block's last.
        """
        self.kept, self.name, self.ends, self.first = kept, name, ends, first
        self.shape, self.dtype = (int(ends[-1]), width), np.dtype(np.float32)
        self._last: tuple[int, Float[np.ndarray, "row d"]] | None = None

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where a block can't be read."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places. Raises ``DataError`` where a block can't be read."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        numbers = np.searchsorted(self.ends, places, side="right")
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            rows = self._rows(number)
            found[mine] = rows[places[mine] - (self.ends[number] - len(rows))]
        return found

    def _rows(self, number: int) -> Float[np.ndarray, "row d"]:
        """Of one block; the last one asked for is held."""
        if self._last is None or self._last[0] != number:
            self._last = number, np.asarray(self.kept.read(self.first + number, (self.name,))[self.name].train)
        return self._last[1]
