"""Which runs belong together: what was learned from one of them tells of the others, and their errors are alike."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gptfl.core.runs import Run

OVERLAP = 0.5
"""Two curricula that name the same example at so many of their places are a pair: one was made from the other."""
LONE, MOST = 3, 2 / 3
"""A group of more runs than the first, and of more than the second's share of all, is no group."""


def groups_of(runs: Sequence[Run]) -> Int[np.ndarray, " run"]:
    """The number of each run's group, counted in order of first appearance: see ``groups_of_batches``."""
    return groups_of_batches([run.curriculum.batches for run in runs])


def groups_of_batches(batches: Sequence[Int[np.ndarray, "step batch"]]) -> Int[np.ndarray, " run"]:
    """The number of each curriculum's group, counted in order of first appearance.

    Those that train on the same examples, in whatever order, are in one group; so are those that have the same example
    at half of their places or more, such as a pair of the design ``leave-out``. A rule that would put nearly all runs
    into one group tells nothing of them, and isn't applied: then the order, or what was left out, is what is varied.
    """
    subsets = _numbers([np.unique(one[one >= 0]).astype(np.int64).tobytes() for one in batches])
    alone = np.arange(len(batches))
    groups = subsets if _parts(subsets) else alone
    pairs = _merged(groups, _pairs(batches))
    return pairs if _parts(pairs) else groups


def joined(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """What is one group by either numbering, or by both in turns, as one: the least of its numbers in ``first``."""
    found = list(first)
    while True:
        least: dict[tuple[int, int], int] = {}
        for one, keys in zip(found, zip(first, second, strict=True), strict=True):
            for key in enumerate(keys):
                least[key] = min(one, least.get(key, one))
        merged = [min(least[key] for key in enumerate(keys)) for keys in zip(first, second, strict=True)]
        if merged == found:
            return found
        found = merged


def _parts(groups: Int[np.ndarray, " run"]) -> bool:
    """Whether no group holds nearly all runs."""
    largest = np.bincount(groups).max(initial=0)
    return bool((groups > 0).any()) and not (largest > LONE and largest > MOST * len(groups))


def _numbers(keys: Sequence[bytes]) -> Int[np.ndarray, " run"]:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def _pairs(batches: Sequence[Int[np.ndarray, "step batch"]]) -> list[tuple[int, int]]:
    """Places of curricula of one shape, the earlier first, that agree at enough of their filled places."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(batches):
        shapes.setdefault(one.shape, []).append(place)
    found = []
    for places in shapes.values():
        rows = np.stack([batches[place].reshape(-1) for place in places])
        for number in range(len(places) - 1):
            own, others = rows[number], rows[number + 1 :]
            filled = ((own >= 0) | (others >= 0)).sum(axis=1)
            same = ((own == others) & (own >= 0)).sum(axis=1)
            overlapping = np.flatnonzero((same >= OVERLAP * filled) & (filled > 0))
            found += [(places[number], places[number + 1 + int(other)]) for other in overlapping]
    return found


def _merged(groups: Int[np.ndarray, " run"], pairs: Sequence[tuple[int, int]]) -> Int[np.ndarray, " run"]:
    """The groups after those of each pair are made one, numbered anew in order of first appearance."""
    merged = groups.copy()
    for one, other in pairs:
        merged[merged == merged[other]] = merged[one]
    return _numbers([number.tobytes() for number in merged])
