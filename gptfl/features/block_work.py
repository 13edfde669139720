"""Embeds the rows that are lacking in blocks, each of which is kept on disk once it is done."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, FeatureSet, Progress, fingerprint
from gptfl.core.blocked_rows import BlockedRows, as_array
from gptfl.errors import DataError
from gptfl.interruption import leaving
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.optional import ReportsProgress
from gptfl.store.feature_blocks import FeatureBlocks, RowsOfBlocks

ROWS, CHARACTERS = 1024, 2**19
"""A block has at most so many examples and, with several of them, so many characters."""

Places = tuple[Int[np.ndarray, " pool"], Int[np.ndarray, " test"]]
"""Of some examples on either side."""


def cut(missing: Sequence[Int[np.ndarray, " row"]], sizes: Sequence[Int[np.ndarray, " example"]]) -> list[Places]:
    """The lacking places of pool and test set in blocks, the pool's first; where they are few, all in one.

    Args:
        missing: places on either side.
        sizes: characters of every example on either side.
    """
    places = np.concatenate(missing)
    characters = np.cumsum(np.concatenate([size[rows] for size, rows in zip(sizes, missing, strict=True)]))
    blocks, start, pool = [], 0, len(missing[0])
    while start < len(places):
        before = characters[start - 1] if start else 0
        stop = int(np.searchsorted(characters, before + CHARACTERS, side="right"))
        stop = min(max(stop, start + 1), start + ROWS, len(places))
        blocks.append((places[start : min(stop, pool)], places[max(start, pool) : stop]))
        start = stop
    return blocks


class Asked(Protocol):
    """What the work is done for: an ``Embedding``."""

    name: str
    encoder: Encoder
    identity: dict[str, Any]
    pool: Sequence[Example]
    test: Sequence[Example]
    keys: tuple[list[str], list[str]]
    progress: Progress
    notes: list[str]

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]: ...

    def settle(self, made: Mapping[str, FeatureSet]) -> None: ...


class BlockWork:
    """Blocks of rows to embed. ``seconds`` is what they took, earlier sittings included.

    Several blocks lie beside ``target`` until they are removed; one alone, or those without a target, are in memory.
    ``again`` counts the rows of blocks that were there.
    """

    def __init__(self, asked: Asked, blocks: Sequence[Places], target: Path | None) -> None:
        self.asked, self.blocks = asked, blocks
        self.seconds, self.again = 0.0, 0
        self.kept: FeatureBlocks | None = None
        self.found: dict[int, Mapping[str, FeatureSet]] = {}
        """The vectors of blocks that are in memory; of those on disk, of the test examples alone."""
        if target is not None and len(blocks) > 1:
            known = {name: value for name, value in asked.identity.items() if name != "model" or not self._weighed}
            work = fingerprint(asked.name, known, *asked.keys, [ROWS, CHARACTERS])
            self.kept = FeatureBlocks(target, asked.name, known, work)

    @property
    def _weighed(self) -> bool:
        """Whether weights tell the model, so that its name is no matter."""
        return "weights" in self.asked.identity

    def do(self) -> None:
        """Embed what isn't there yet. Raises as ``Embedding.sets`` does."""
        total, done = sum(len(pool) + len(test) for pool, test in self.blocks), 0
        left = [number for number, block in enumerate(self.blocks) if not self._take(number, block)]
        done = self.again
        if done:
            self.asked.notes.append(
                f"{done} of {total} examples were embedded before, by a command that was interrupted"
            )
        self.asked.progress("featurize", done, total, self.asked.name)
        with leaving(lambda: self._left(done, total)) if self.kept else nullcontext():
            for number in left:
                began = time.perf_counter()
                sets = self._encoded(self.blocks[number], done, total)
                self._keep(number, sets, time.perf_counter() - began)
                done += sum(map(len, self.blocks[number]))
                self.asked.progress("featurize", done, total, self.asked.name)

    def vectors(self, name: str, width: int) -> tuple[Float[np.ndarray, "row d"], Float[np.ndarray, "row d"]]:
        """Those of one set of all rows on either side; the pool's are ``BlockedRows`` where they are on disk.

        Args:
            name: of the set.
            width: numbers of a vector.
        """
        none = np.zeros((0, width), dtype=np.float32)
        parts = [self.found[number][name] for number in sorted(self.found)]
        test = np.concatenate([none, *(one.test for one in parts)])
        if self.kept is not None:
            ends = np.cumsum([len(pool) for pool, _ in self.blocks])
            return as_array(RowsOfBlocks(self.kept, name, ends, width)), test
        if len(parts) == 1:
            return parts[0].train, test
        return np.concatenate([none, *(one.train for one in parts)]), test

    def _take(self, number: int, block: Places) -> bool:
        """Whether a block is there, which is then counted."""
        if self.kept is None:
            return False
        try:
            features = self.kept.find(number, self._keys(block))
        except DataError as error:
            self.asked.notes.append(f"a block of vectors is made again: {error.problem}")
            return False
        if features is None:
            return False
        self.asked.settle(features.sets)
        self.seconds += features.seconds or 0.0
        self.again += sum(map(len, block))
        self._hold(number, features.sets)
        return True

    def _keys(self, block: Places) -> list[list[str]]:
        return [[keys[place] for place in places.tolist()] for keys, places in zip(self.asked.keys, block, strict=True)]

    def _encoded(self, block: Places, done: int, total: int) -> dict[str, FeatureSet]:
        """The vectors of one block, ``done`` of ``total`` rows being there already."""
        asked = self.asked
        # An encoder never gets an empty side: one further row is then embedded and left unused.
        pool, test = (
            _examples(side, places) if len(places) else [side[0]]
            for side, places in zip((asked.pool, asked.test), block, strict=True)
        )
        first, second = map(len, block)
        if isinstance(asked.encoder, ReportsProgress):
            asked.encoder.progress = _onwards(asked.progress, done, first + second, total)
        return {
            name: FeatureSet(_first(one.train, first), _first(one.test, second), one.kind)
            for name, one in asked.encode(pool, test).items()
        }

    def _keep(self, number: int, sets: dict[str, FeatureSet], seconds: float) -> None:
        self.seconds += seconds
        if self.kept is not None:
            self.kept.keep(number, sets, seconds, self._keys(self.blocks[number]))
        self._hold(number, sets)

    def _hold(self, number: int, sets: Mapping[str, FeatureSet]) -> None:
        if self.kept is not None:
            # Copied: a part of an array holds all of it.
            sets = {name: FeatureSet(one.train[:0].copy(), one.test.copy(), one.kind) for name, one in sets.items()}
        self.found[number] = sets

    def _left(self, done: int, total: int) -> str:
        """What an interruption leaves."""
        if not done:
            return "no vectors were kept, the same command begins anew"
        return f"the vectors of {done} of {total} examples are kept, the same command goes on from there"


def _examples(side: Sequence[Example], places: Int[np.ndarray, " row"]) -> Sequence[Example]:
    """Those at some places; the whole side where these are all, which need not be made at once then."""
    return side if len(places) == len(side) else [side[place] for place in places.tolist()]


def _first(vectors: Float[np.ndarray, "row d"], count: int) -> Float[np.ndarray, "kept d"]:
    """The first rows, as 32-bit floats where they are in memory."""
    if isinstance(vectors, BlockedRows):
        return vectors if count == len(vectors) else np.asarray(vectors[:count])
    return np.asarray(vectors[:count], dtype=np.float32)


def _onwards(progress: Progress, before: int, block: int, whole: int) -> Progress:
    """What an encoder reports of a block of rows, as a part of the ``whole`` of which some come ``before`` it."""

    def report(what: str, done: int, total: int, note: str = "") -> None:
        if what == "featurize":
            done, total = before + min(done, block), whole
        progress(what, done, total, note)

    return report
