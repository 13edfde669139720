"""Deals examples to runs so that, whenever one stops, each has been dealt about as often as any other."""

import numpy as np
from jaxtyping import Int

from gptfl.core.curriculum import generator


def even_parts(sizes: Int[np.ndarray, " group"], total: int) -> Int[np.ndarray, " group"]:
    """How many of ``total`` examples to take of each group: as many of one as of another.

    A group that is too small gives all it has, and the others give more. What doesn't divide goes to the first groups
    that have some left. ``total`` is at most the sum of ``sizes``.
    """
    parts = np.zeros(len(sizes), dtype=np.int64)
    while (left := total - int(parts.sum())) > 0:
        open_ = np.flatnonzero(parts < sizes)
        each = max(1, left // len(open_))
        open_ = open_[: left // each]  # fewer than all only where not even one is left for each
        parts[open_] = np.minimum(parts[open_] + each, sizes[open_])
    return parts


def draw_evenly(
    count: int, groups: Int[np.ndarray, " pool"] | None, pool: int, key: tuple[int, ...]
) -> Int[np.ndarray, " count"]:
    """Places of the pool in ascending order, as many of each group as of another.

    Args:
        count: how many places.
        groups: the group's number of each place; None for no groups.
        pool: how many places there are.
        key: numbers that the random stream is made of.
    """
    order = generator(*key).permutation(pool)
    if groups is None:
        return np.sort(order[:count])
    number, names = np.unique(groups, return_inverse=True)
    parts = even_parts(np.bincount(names), count)
    return np.sort(np.concatenate([order[names[order] == one][: parts[one]] for one in range(len(number))]))


class Dealer:
    """Deals the examples that were dealt least, chance deciding among equals.

    Without groups, no example is ever dealt more than once oftener than another of the same candidates. This is what
    dealing blocks of shuffled packs gives, but that a block which crosses from one pack to the next holds no example
    twice. With ``groups`` (a group's number for each example) each deal has equal parts of every group, and the same
    holds within each.
    """

    def __init__(self, pool: int, groups: Int[np.ndarray, " pool"] | None = None) -> None:
        self.counts = np.zeros(pool, dtype=np.int64)
        self.groups = groups

    def deal(
        self, places: Int[np.ndarray, " candidate"], size: int, random: np.random.Generator
    ) -> Int[np.ndarray, " dealt"]:
        """Choose ``size`` of the candidates and count them."""
        if self.groups is None:
            dealt = self.least(places, size, random)
        else:
            numbers, names = np.unique(self.groups[places], return_inverse=True)
            parts = even_parts(np.bincount(names, minlength=len(numbers)), size)
            dealt = np.concatenate(
                [self.least(places[names == one], int(part), random) for one, part in enumerate(parts)]
            )
        self.counts[dealt] += 1
        return dealt

    def least(
        self, places: Int[np.ndarray, " candidate"], size: int, random: np.random.Generator
    ) -> Int[np.ndarray, " dealt"]:
        """The ``size`` candidates that were dealt least, in that order; they aren't counted."""
        rank = self.counts[places] + random.random(len(places))
        return places[np.argsort(rank, kind="stable")[:size]]

    def deal_pair(
        self, places: Int[np.ndarray, " candidate"], size: int, swapped: int, random: np.random.Generator
    ) -> tuple[Int[np.ndarray, " dealt"], Int[np.ndarray, "swapped 2"]]:
        """The examples of a run, and which of them a second run has others for; both runs are counted.

        They are the first run's ``size`` examples, and ``swapped`` rows of one of them and what takes its place. Those
        swapped are
        in one of the two runs, the others in both; so they are the ones that were dealt most.

        Args:
            places: the candidates.
            size: examples of a run.
            swapped: how many of them the second run has others for.
            random: decides among equals.
        """
        chosen = self.least(places, size + swapped, random)
        both, once = np.split(chosen, [size - swapped])
        once = random.permutation(once)
        first, second = np.split(once, 2)
        self.counts[both] += 2
        self.counts[once] += 1
        return np.concatenate([both, first]), np.stack([first, second], axis=1)
