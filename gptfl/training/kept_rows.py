"""Sketches that are kept as they are made, some examples' at a time, and read in the order of the examples.

Examples are cut into spans, so many in a row; a file has sketches of some examples of one span at a point, in any order. So
a span is all that is in memory where they are read.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FeatureSet
from gptfl.core.blocked_products import UnknownRows
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.store.feature_blocks import FeatureBlocks, RowsOfBlocks
from gptfl.training.gradient_sketches import Estimated
from gptfl.training.kept_products import OWN, PAIRS

POOL, TEST = 0, 1
"""The sides, in the order of a setup's."""
NO_KEYS: tuple[list[str], list[str]] = [], []
WIDE = "1 "
"""How the names of sketches begin that products are estimated from; those that are kept begin with 0."""
Held = tuple[Sequence[int], Mapping[str, Float[np.ndarray, "row d"]]]
"""Places of examples, and their sketches by name."""


class KeptRows:
    """Sketches of both sides' examples at some points, and products that are estimated from them, in files of their own.

    ``spans`` are those of the training and of the test examples. With ``wide`` there are products, too, and a span of the pool
    is done once its are there.
    """

    def __init__(self, kept: FeatureBlocks, points: int, spans: Sequence[Sequence[range]], wide: bool) -> None:
        self.kept, self.points, self.spans, self.wide = kept, points, spans, wide
        self.counts = [side[-1].stop if side else 0 for side in spans]
        self.notes: list[str] = []
        self._rows: dict[tuple[int, int, int], dict[int, Int[np.ndarray, " row"]]] = {}
        """The examples in each file, by point, side and span."""
        self._names: dict[tuple[int, int], tuple[str, ...]] = {}
        self._seconds: dict[int, float] = {}
        self._estimated: set[int] = set()
        numbers = self.kept.numbers()
        # What a file without wide sketches is worth depends on products.
        for number in sorted(numbers, reverse=True):
            self._look(number)

    @property
    def done(self) -> int:
        """Examples over all points that are sketched already."""
        return sum(len(rows) for files in self._rows.values() for rows in files.values())

    @property
    def seconds(self) -> float:
        """What all that is there took."""
        return sum(self._seconds.values())

    def missing(self, place: int, side: int, span: int) -> set[int]:
        """The examples of a span that have no sketches at a point yet."""
        return set(self.spans[side][span]).difference(
            *(rows.tolist() for rows in self._files(place, side, span).values())
        )

    def keep(
        self, place: int, side: int, rows: Sequence[int], sets: Mapping[str, Float[np.ndarray, "row d"]], seconds: float
    ) -> None:
        """Keep sketches of some examples of one span.

        Args:
            place: of the point.
            side: which the examples are on.
            rows: their places there.
            sets: the sketches, by name.
            seconds: that they took.

        Raises ``ResourceError`` where they can't be written.
        """
        number, found = self._number(place, side, min(rows)), {}
        for name, values in sets.items():
            both = [np.zeros((0, values.shape[1]), np.float32)] * 2
            both[side] = values
            found[name] = FeatureSet(both[POOL], both[TEST], "gradient")
        keys: list[list[str]] = [[], []]
        keys[side] = [str(row) for row in rows]
        self.kept.keep(number, found, seconds, keys)
        self._note(number, place, side, rows, tuple(sets), seconds)

    def read(
        self, place: int, side: int, span: int, name: str, held: Sequence[Held] = ()
    ) -> Float[np.ndarray, "row d"]:
        """Sketches of a span in the order of its examples.

        Args:
            place: of the point.
            side: which the examples are on.
            span: which of that side.
            name: of the sketches.
            held: examples, with their sketches, that aren't kept yet.

        Raises ``DataError`` where a file can't be read.
        """
        rows = self.spans[side][span]
        found: Float[np.ndarray, "row d"] | None = None
        for places, values in self._parts(place, side, span, name, held):
            if found is None:
                found = np.zeros((len(rows), values.shape[1]), np.float32)
            found[np.asarray(places) - rows.start] = values
        assert found is not None  # no span is empty
        return found

    def _parts(
        self, place: int, side: int, span: int, name: str, held: Sequence[Held]
    ) -> Iterator[tuple[Sequence[int] | Int[np.ndarray, " row"], Float[np.ndarray, "row d"]]]:
        for number, places in self._files(place, side, span).items():
            one = self.kept.read(number, (name,))[name]
            yield places, np.asarray((one.train, one.test)[side])
        yield from ((places, sets[name]) for places, sets in held)

    def names(self, place: int, side: int) -> tuple[str, ...]:
        """Of the sketches of a side's examples at a point; of the pool wide ones needn't be there."""
        return self._names.get((place, side), ())

    def whole(self, place: int, side: int, name: str) -> Float[np.ndarray, "example d"]:
        """Sketches of all examples of a side at a point. Raises ``DataError`` where a file can't be read."""
        return np.concatenate([self.read(place, side, span, name) for span in range(len(self.spans[side]))])

    def is_estimated(self, place: int, span: int) -> bool:
        """Whether the products of a span of the pool at a point are there."""
        return self._products(place, span) in self._estimated

    def keep_products(self, place: int, span: int, found: Estimated) -> None:
        """Keep the products of a span of the pool. Raises ``ResourceError`` where they can't be written."""
        given = (found.raw, found.preconditioned, found.self_raw[:, None], found.self_preconditioned[:, None])
        sets = {
            name: FeatureSet(values, np.zeros((0, values.shape[1]), np.float32), "gradient")
            for name, values in zip((*PAIRS, *OWN), given, strict=True)
            if not np.isnan(values).all()
        }
        number = self._products(place, span)
        self.kept.keep(number, sets, 0.0, NO_KEYS)
        self._estimated.add(number)

    def products(self, place: int, kind: int) -> BlockedRows:
        """The products of one kind at a point, as in ``PAIRS``."""
        return self._of_products(place, PAIRS[kind], self.counts[TEST])

    def own(self, place: int, kind: int) -> Float[np.ndarray, " pool"]:
        """Products of the training examples with themselves. Raises ``DataError`` where a file can't be read."""
        return np.asarray(self._of_products(place, OWN[kind], 1))[:, 0]

    def _of_products(self, place: int, name: str, width: int) -> BlockedRows:
        first = self._products(place, 0)
        if name not in self.kept.read(first):
            return UnknownRows((self.counts[POOL], width))
        ends = np.array([span.stop for span in self.spans[POOL]])
        return RowsOfBlocks(self.kept, name, ends, width, first)

    def _files(self, place: int, side: int, span: int) -> dict[int, Int[np.ndarray, " row"]]:
        return self._rows.setdefault((place, side, span), {})

    def _number(self, place: int, side: int, row: int) -> int:
        """Of a file, by the first of its examples: no two of a point have one in common."""
        return place * sum(self.counts) + side * self.counts[POOL] + row

    def _products(self, place: int, span: int) -> int:
        return self.points * sum(self.counts) + place * len(self.spans[POOL]) + span

    def _note(
        self, number: int, place: int, side: int, rows: Sequence[int], names: tuple[str, ...], seconds: float
    ) -> None:
        (span,) = {self._span(side, row) for row in rows}
        self._files(place, side, span)[number] = np.array(rows, dtype=np.int64)
        self._names[place, side] = names
        self._seconds[number] = seconds

    def _span(self, side: int, row: int) -> int:
        return row // len(self.spans[side][0])

    def _look(self, number: int) -> None:
        """Note a file that is there; one that is damaged, or no use, is deleted."""
        try:
            features, *keys = self.kept.with_keys(number)
            place, left = divmod(number, sum(self.counts))
            if place >= self.points:
                self._estimated.add(number)
                return
            side = POOL if left < self.counts[POOL] else TEST
            rows = [int(key) for key in keys[side]]
            span = self._span(side, min(rows))
            if not set(rows) <= self.missing(place, side, span):
                raise self.kept.foreign(number)
        except DataError as error:
            self.notes.append(f"a block of sketches is made again: {error.problem}")
            self.kept.delete(number)
            return
        lacks = self.wide and not any(name.startswith(WIDE) for name in features.sets)
        if lacks and not self.is_estimated(place, span):
            self.kept.delete(number)  # its products were damaged
            return
        self._note(number, place, side, rows, tuple(features.sets), features.seconds or 0.0)


class SpanRows(BlockedRows):
    """The pool's sketches of one name at a point; the span that was asked for last is held."""

    def __init__(self, rows: KeptRows, place: int, name: str, width: int) -> None:
        self.rows, self.place, self.name = rows, place, name
        self.shape, self.dtype = (rows.counts[POOL], width), np.dtype(np.float32)
        self._last: tuple[int, Float[np.ndarray, "row d"]] | None = None

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where a file can't be read."""
        return self.take(np.arange(start, stop))

    def take(self, places: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row d"]:
        """The rows at ascending places. Raises ``DataError`` where a file can't be read."""
        found = np.empty((len(places), self.shape[1]), self.dtype)
        spans = self.rows.spans[POOL]
        numbers = places // len(spans[0])
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            if self._last is None or self._last[0] != number:
                self._last = None  # so that no two are held
                self._last = number, self.rows.read(self.place, POOL, number, self.name)
            found[mine] = self._last[1][places[mine] - spans[number].start]
        return found
