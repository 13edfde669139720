"""Deals groups of examples to runs so that few runs tell the groups' effects apart, and rows within the groups."""

import itertools
import math
from collections import Counter

import numpy as np
from jaxtyping import Int

from gptfl.designs.dealing import Dealer

EVERY_SET = 1000
"""Where there are no more sets of groups than that, all are weighed; else ``TRIED`` of them, drawn at random."""
TRIED = 256
STRETCH = (1.0, 3.0)
"""How far chance goes in those, in turns: by 1 it decides among groups dealt least, by more it goes beyond these."""
SPREAD = 2
"""By so many runs may a group be ahead of another."""


def proportional_parts(sizes: Int[np.ndarray, " group"], total: int) -> Int[np.ndarray, " group"]:
    """How many of ``total`` rows to take of each group: in proportion to the sizes, and at least one of each.

    ``total`` lies between the number of groups and the sum of their sizes, none of which is 0.
    """
    whole = int(sizes.sum())
    parts, rest = np.divmod(sizes * total, whole)
    parts[np.argsort(-rest, kind="stable")[: total - int(parts.sum())]] += 1
    for lacking in np.flatnonzero(parts == 0):
        parts[parts.argmax()] -= 1
        parts[lacking] = 1
    return parts


class GroupDealer:
    """Gives each run about half of the groups, and rows of these.

    Of the sets that were dealt least often, the one is next that keeps the groups about as often dealt as each other, and
    their occurrences about uncorrelated: what the squared products of their columns (+1 in a run, -1 not) come to, a
    column of the mean among them. Runs then tell as many group effects apart as they can. All of that is in whole
    numbers, so that every processor deals alike; chance decides among equals.

    Args:
        groups: the number of each row's group, from 0 on, none left out; at least two groups.
        subset: rows of a run, at least as many as there are groups. Where its groups have fewer, a run has all of them.
    """

    def __init__(self, groups: Int[np.ndarray, " pool"], subset: int) -> None:
        self.subset = subset
        self.sizes = np.bincount(groups)
        self.rows = Dealer(len(groups))
        self.places = np.split(np.argsort(groups, kind="stable"), np.cumsum(self.sizes)[:-1])
        self.times = np.zeros(len(self.sizes), dtype=np.int64)
        self._products = np.zeros((len(self.sizes), len(self.sizes)))  # whole numbers far below 2**53: exact
        self._dealt: Counter[bytes] = Counter()
        self._last = np.zeros(len(self.sizes), dtype=np.int64)

    def deal(self, random: np.random.Generator) -> Int[np.ndarray, " dealt"]:
        """The rows of the next run, which are counted with their groups."""
        chosen = self.choose(random)
        total = min(self.subset, int(self.sizes[chosen].sum()))
        parts = proportional_parts(self.sizes[chosen], total)
        return np.concatenate(
            [
                self.rows.deal(self.places[group], int(part), random)
                for group, part in zip(chosen.tolist(), parts, strict=True)
            ]
        )

    def choose(self, random: np.random.Generator) -> Int[np.ndarray, " chosen"]:
        """The groups of the next run, which are counted."""
        sets = self._candidates(random)
        held = np.zeros((len(sets), len(self.sizes)), dtype=np.int64)
        np.put_along_axis(held, sets, 1, axis=1)
        signs = (2 * held - 1).astype(np.float64)
        runs = sum(self._dealt.values())
        # With the column of the mean, the squares of the products grow by twice this.
        alike = ((signs @ self._products) * signs).sum(axis=1) + 2 * (signs @ (2 * self.times - runs))
        keys = (
            random.random(len(sets)),
            held @ self._last,
            alike,
            np.maximum(np.ptp(self.times + held, axis=1) - SPREAD, 0),
            np.array([self._dealt[one.tobytes()] for one in sets]),
        )
        best = int(np.lexsort(keys)[0])  # the last key goes first
        self.times += held[best]
        self._products += np.outer(signs[best], signs[best])
        self._dealt[sets[best].tobytes()] += 1
        self._last = held[best]
        return np.asarray(sets[best])

    def _candidates(self, random: np.random.Generator) -> Int[np.ndarray, "candidate chosen"]:
        """Sets of about half of the groups, each in ascending order."""
        count = len(self.sizes)
        # Of an odd number in turns one more than half and one less.
        size = (count + 1 - sum(self._dealt.values()) % 2) // 2
        if math.comb(count, size) <= EVERY_SET:
            return np.array(list(itertools.combinations(range(count), size)), dtype=np.int64)
        stretch = np.resize(STRETCH, TRIED)[:, None]
        rank = self.times + stretch * random.random((TRIED, count))
        return np.sort(np.argsort(rank, axis=1, kind="stable")[:, :size], axis=1)
