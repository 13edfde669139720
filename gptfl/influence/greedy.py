"""Picks training examples that are worth most together: by their values, within classes, and apart from each other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, class_numbers, lack_of_classes
from gptfl.errors import DataError, UsageError
from gptfl.features.vectors import VectorSource, blocks
from gptfl.options.influence import SelectionOptions

MAX_BYTES = 2**31
"""The vectors of all examples that may be chosen take at most so much memory where diversity is asked for."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SelectionSpec:
    """What a subset should be, by the options of the same names."""

    size: int
    max_share: float | None = None
    diversity: float = 0.0
    cautious: float = 0.0
    search: int = 0
    among: Int[np.ndarray, " candidate"] | None = None
    """The places of the examples that may be picked, None for all."""

    @classmethod
    def of(cls, options: SelectionOptions) -> "SelectionSpec":
        """What options say."""
        return cls(options.size, options.max_share_per_class, options.diversity, options.cautious, options.search)

    @classmethod
    def greatest(cls, size: int, max_share: float | None) -> "SelectionSpec":
        """Those of greatest influence, as baselines select: neither diverse nor cautious, and no swaps after."""
        return cls(size, max_share, diversity=0.0, cautious=0.0, search=0)

    def check(self, pool: int) -> None:
        """Raise ``UsageError`` for values that make no sense for a pool of this size."""
        there, of = (pool, "the size of the pool") if self.among is None else (len(self.among), "so many --from names")
        if not 1 <= self.size <= there:
            raise UsageError(f"is {self.size}", f"give a number from 1 to {there}, {of}", option="size")
        if self.max_share is not None and not 0 < self.max_share <= 1:
            raise UsageError(f"is {self.max_share:g}", "give a share above 0, at most 1", option="max_share_per_class")
        for option, value in (("diversity", self.diversity), ("cautious", self.cautious)):
            if not 0 <= value < math.inf:
                raise UsageError(f"is {value:g}", "give 0 or more", option=option)
        if self.search < 0:
            raise UsageError(f"is {self.search}", "give 0 or more", option="search")


@dataclass(frozen=True, slots=True)
class ClassQuota:
    """The class of each pool example as a number, and how many of one class there may be.

    ``closed`` says that the class of the greatest number is of those examples that may not be picked at all.
    """

    classes: Int[np.ndarray, " pool"]
    most: int
    closed: bool = False

    def left(self, chosen: Sequence[int]) -> Int[np.ndarray, " class"]:
        """How many more of each class there may be."""
        taken = np.bincount(self.classes[list(chosen)], minlength=int(self.classes.max()) + 1)
        left = np.asarray(self.most - taken)
        if self.closed:
            left[-1] -= self.most
        return left

    @property
    def eligible(self) -> Int[np.ndarray, " eligible"]:
        """The places of the examples that may be picked."""
        return np.flatnonzero(self.classes < self.classes.max()) if self.closed else np.arange(len(self.classes))


def class_quota(pool: Sequence[Example], spec: SelectionSpec) -> ClassQuota:
    """How many examples of each class may be chosen.

    Raises ``DataError`` where the examples have no classes, and ``UsageError`` where the classes have too few
    examples to give as many as are wanted.
    """
    if spec.max_share is None:
        return _among(ClassQuota(np.zeros(len(pool), dtype=np.int64), spec.size), spec)
    classes = class_numbers(pool)
    flag = f"--max-share-per-class {spec.max_share:g}"
    if classes is None:
        raise DataError(
            f"{flag}: the recording's training examples have no classes{lack_of_classes(pool)}", "leave it out"
        )
    most = math.floor(spec.max_share * spec.size + ROUNDING)
    allowed = classes if spec.among is None else classes[spec.among]
    there = int(np.minimum(np.bincount(allowed), most).sum())
    if there < spec.size:
        raise UsageError(f"{flag} leaves {there} of the --size {spec.size} examples", "give a larger share")
    return _among(ClassQuota(classes, most), spec)


def _among(rooms: ClassQuota, spec: SelectionSpec) -> ClassQuota:
    """The same, in which no example has room that isn't among those that may be picked."""
    if spec.among is None or len(spec.among) == len(rooms.classes):
        return rooms
    barred = ~np.isin(np.arange(len(rooms.classes)), spec.among)
    return replace(rooms, classes=np.where(barred, rooms.classes.max() + 1, rooms.classes), closed=True)


def greatest(values: Float[np.ndarray, " pool"], size: int, rooms: ClassQuota) -> list[int]:
    """The places of the greatest values, greatest first, ties by place, as far as their classes have room."""
    left = rooms.left([])
    chosen: list[int] = []
    for place in np.argsort(-values, kind="stable"):
        if left[rooms.classes[place]]:
            left[rooms.classes[place]] -= 1
            chosen.append(int(place))
        if len(chosen) == size:
            break
    return chosen


def select_greedily(
    utility: Float[np.ndarray, " pool"],
    penalty: float,
    spec: SelectionSpec,
    rooms: ClassQuota,
    vectors: VectorSource | None,
) -> list[int]:
    """The places of the subset, in the order in which they are selected (maximal marginal relevance).

    One after the other, the example is taken whose utility is greatest after taking off ``penalty`` times its
    similarity
    to the most similar of those taken before. Without penalty these are the examples of greatest utility, which is the
    best subset for effects that add up.

    Args:
        utility: of each training example; more is better.
        penalty: in units of the utility, for a similarity of 1.
        spec: how many examples, and how they may be alike.
        rooms: how many of each class there may be.
        vectors: of the training examples, by which they are similar; None where nothing is penalised.

    Raises ``UsageError`` where the vectors of too many examples would have to be held.
    """
    chosen = greatest(utility, spec.size, rooms)
    if penalty == 0 or vectors is None:
        return chosen
    # Of the plain choice one that fits is always left, so that nothing of less worth than its least, less the
    # greatest penalty, is ever chosen.
    eligible = np.flatnonzero(utility >= utility[chosen[-1]] - penalty)
    return _apart(utility, eligible, directions(vectors, eligible, len(utility), spec), penalty, spec.size, rooms)


def similarity(
    ones: list[Float[np.ndarray, "one d"]], others: list[Float[np.ndarray, "other d"]]
) -> Float[np.ndarray, "one other"]:
    """How alike examples are: the cosine of vectors centred on the pool, the mean over feature sets, 0 if negative."""
    cosines = np.mean([one @ other.T for one, other in zip(ones, others, strict=True)], axis=0)
    return np.asarray(np.clip(cosines, 0.0, 1.0))


def _apart(
    utility: Float[np.ndarray, " pool"],
    eligible: Int[np.ndarray, " eligible"],
    ways: list[Float[np.ndarray, "eligible d"]],
    penalty: float,
    size: int,
    rooms: ClassQuota,
) -> list[int]:
    closest = np.zeros(len(eligible))
    open_ = np.ones(len(eligible), dtype=bool)
    chosen: list[int] = []
    for _ in range(size):
        may = open_ & (rooms.left(chosen)[rooms.classes[eligible]] > 0)
        best = int(np.argmax(np.where(may, utility[eligible] - penalty * closest, -np.inf)))
        chosen.append(int(eligible[best]))
        open_[best] = False
        closest = np.maximum(closest, similarity(ways, [one[best : best + 1] for one in ways])[:, 0])
    return chosen


def directions(
    vectors: VectorSource, places: Int[np.ndarray, " eligible"], pool: int, spec: SelectionSpec
) -> list[Float[np.ndarray, "eligible d"]]:
    """The centred vectors of the examples at ascending places in each set, of length 1 (0 where one is the mean).

    Args:
        vectors: of all training examples, read in parts.
        places: ascending, of the examples that are kept.
        pool: how many training examples there are; all of them make the mean.
        spec: whose ``diversity`` the error names.

    Raises ``UsageError`` where they would take too much memory.
    """
    held = len(places) * sum(one.shape[1] * 4 for one in vectors.rows(0, 1).values())
    if held > MAX_BYTES:
        raise UsageError(
            f"--diversity {spec.diversity:g} leaves {len(places)} examples to choose from, whose vectors take "
            f"{held / 2**30:.1f} GiB",
            "give a smaller --diversity",
        )
    kept = np.isin(np.arange(pool), places)
    total: dict[str, Float[np.ndarray, " d"]] = {}
    for rows in _all(vectors, pool):
        for name, one in rows.items():
            total[name] = total.get(name, 0.0) + one.sum(axis=0, dtype=np.float64)
    parts: dict[str, list[Float[np.ndarray, "example d"]]] = {name: [] for name in total}
    start = 0
    for rows in _all(vectors, pool):
        count = len(next(iter(rows.values())))
        for name, one in rows.items():
            moved = one[kept[start : start + count]] - total[name] / pool
            length = np.linalg.norm(moved, axis=1, keepdims=True)
            parts[name].append((moved / np.where(length > 0, length, 1.0)).astype(np.float32))
        start += count
    return [np.concatenate(one) for one in parts.values()]


def _all(vectors: VectorSource, pool: int) -> Iterator[dict[str, Float[np.ndarray, "example d"]]]:
    return (vectors.rows(start, stop) for start, stop in blocks(vectors, pool))
