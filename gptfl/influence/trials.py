"""Curricula that differ in one example alone, and the mean difference that it makes to what a simulator gives for them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import RunStream, generator, run_seed
from gptfl.errors import DataError
from gptfl.simulation.schedule import RunSchedule

Final = Callable[[Int[np.ndarray, "run step batch"]], Float[np.ndarray, "run test"]]
"""What the simulator gives for these curricula at the last step."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read from the test examples what a training example is to influence.

    ``tests`` are those whose mean counts; None stands for each training example's own place among the test examples,
    which are then the pool's from ``begin`` on.
    """

    tests: Int[np.ndarray, " chosen"] | None
    begin: int = 0

    def of(
        self, values: Float[np.ndarray, "run test"], examples: Int[np.ndarray, " example"]
    ) -> Float[np.ndarray, "run example"]:
        """Each run's value of what each of these training examples is to influence."""
        if self.tests is None:
            return values[:, examples - self.begin]
        return np.broadcast_to(values[:, self.tests].mean(axis=1)[:, None], (len(values), len(examples)))


@dataclass(frozen=True, slots=True)
class Drop:
    """One run, and the same with one of its examples' places left empty, for each example of ``due``."""

    base: Int[np.ndarray, "step batch"]
    due: Int[np.ndarray, " due"]

    @property
    def size(self) -> int:
        """How many curricula it takes."""
        return len(self.due) + 1 if len(self.due) else 0

    def about(self, first: int, end: int) -> "Drop":
        """The same of the examples from ``first`` to ``end`` alone."""
        return replace(self, due=self.due[(self.due >= first) & (self.due < end)])

    def effects(self, final: Final, reading: Reading, chunk: int) -> Float[np.ndarray, " due"]:
        """The metric with each example, less the metric without it."""
        whole = final(self.base[None]).astype(np.float64)
        effects = np.empty(len(self.due))
        for begin in range(0, len(self.due), chunk):
            names = self.due[begin : begin + chunk]
            without = np.where(self.base == names[:, None, None], -1, self.base)
            left = reading.of(final(without).astype(np.float64), names)
            effects[begin : begin + chunk] = reading.of(whole, names)[0] - np.diagonal(left)
        return effects


EMPTY = -2


@dataclass(frozen=True, slots=True)
class Replace:
    """One run in which one member's places are taken by each of ``candidates`` in turn.

    It tells of those at ``told``, which ascend.
    """

    template: Int[np.ndarray, "step batch"]
    """Places among ``others``, -1 where the candidate goes, and ``EMPTY`` for padding."""
    others: Int[np.ndarray, " other"]
    candidates: Int[np.ndarray, " candidate"]
    told: Int[np.ndarray, " due"]

    @property
    def due(self) -> Int[np.ndarray, " due"]:
        """The examples that it tells of."""
        return np.asarray(self.candidates[self.told])

    @property
    def size(self) -> int:
        """How many curricula it takes."""
        return len(self.candidates) if len(self.told) else 0

    def about(self, first: int, end: int) -> "Replace":
        """The same of the examples from ``first`` to ``end`` alone; it takes as many curricula."""
        return replace(self, told=self.told[(self.due >= first) & (self.due < end)])

    def effects(self, final: Final, reading: Reading, chunk: int) -> Float[np.ndarray, " due"]:
        """The metric with each example, less the mean of the metrics with each other candidate in its place."""
        own = np.empty(len(self.told))
        total = np.zeros(len(self.told))
        for begin in range(0, len(self.candidates), chunk):
            names = self.candidates[begin : begin + chunk]
            values = reading.of(final(self.with_each(names)).astype(np.float64), self.due)
            total += values.sum(axis=0)
            there = np.flatnonzero((self.told >= begin) & (self.told < begin + len(names)))
            own[there] = values[self.told[there] - begin, there]
        return self.against_others(own, total)

    def with_each(self, names: Int[np.ndarray, " name"]) -> Int[np.ndarray, "name step batch"]:
        """The curricula with each of some candidates."""
        ids = np.concatenate([np.broadcast_to(self.others, (len(names), len(self.others))), names[:, None]], axis=1)
        return np.where(self.template == EMPTY, -1, ids[:, self.template])

    def against_others(
        self, own: Float[np.ndarray, " due"], total: float | Float[np.ndarray, " due"]
    ) -> Float[np.ndarray, " due"]:
        """The metric with each example it tells of, less the mean of the others, given the sum over all candidates."""
        return own - (total - own) / (len(self.candidates) - 1)


def drops(recipe: RunSchedule, pool: int, orders: int, seed: int) -> Iterator[Drop]:
    """Runs such that each example is dropped once an order: a fresh shuffle of the pool, cut into runs.

    Args:
        recipe: how many examples a run has, and how they are laid out.
        pool: how many training examples there are.
        orders: how often each is dropped.
        seed: draws the shuffles.
    """
    size = members_of_run(recipe, pool)
    for order in range(orders):
        shuffled = generator(run_seed(seed, order), RunStream.PARTNERS).permutation(pool)
        for number, begin in enumerate(range(0, pool, size)):
            members = np.take(shuffled, np.arange(begin, begin + size), mode="wrap")
            base = recipe.fill(members, run_seed(seed, order * pool + number))
            yield Drop(base, shuffled[begin : begin + size])


def replacements(recipe: RunSchedule, pool: int, orders: int, seed: int) -> Iterator[Replace]:
    """Runs such that each example takes a member's places once an order.

    Those in whose place it comes are not in the run themselves.

    Args:
        recipe: how many examples a run has, and how they are laid out.
        pool: how many training examples there are.
        orders: how often each takes another's places.
        seed: draws the shuffles.

    Raises ``DataError`` where a run has the whole pool.
    """
    size = members_of_run(recipe, pool)
    candidates = pool - size + 1
    if candidates < 2:
        raise DataError(
            f"--how replace: the recorded runs see all {pool} examples of the pool, and none is left to replace another",
            "use --how drop",
        )
    for order in range(orders):
        shuffled = generator(run_seed(seed, order), RunStream.PARTNERS).permutation(pool)
        for number, begin in enumerate(range(0, pool, candidates)):
            turned = np.roll(shuffled, -begin)
            members = np.append(turned[candidates:], turned[0])
            batches = recipe.fill(members, run_seed(seed, order * pool + number))
            slot = np.full(pool + 1, EMPTY)  # the last is that of padding
            # The last of a run's members is the one whose places are taken.
            slot[members] = np.append(np.arange(size - 1), -1)
            template = slot[batches]
            yield Replace(template, turned[candidates:], turned[:candidates], np.arange(min(candidates, pool - begin)))


def members_of_run(recipe: RunSchedule, pool: int) -> int:
    """How many examples a typical run has, each of which is seen at least once."""
    return min(recipe.subset or pool, int(recipe.seen), pool)


def mean_effects(
    trials: Sequence[Drop | Replace], final: Final, reading: Reading, pool: int, chunk: int
) -> Float[np.ndarray, " pool"]:
    """The mean effect of each example over the trials in which it is dropped or put in another's place; 0 for others.

    Args:
        trials: runs in which examples are dropped or put in another's place.
        final: predicts the final metric of curricula.
        reading: which of the final metrics count for each.
        pool: how many training examples there are.
        chunk: so many curricula are predicted at once.
    """
    total, count = np.zeros(pool), np.zeros(pool)
    for trial in trials:
        if trial.size:
            total[trial.due] += trial.effects(final, reading, chunk)
            count[trial.due] += 1
    return np.divide(total, count, out=np.zeros(pool), where=count > 0)
