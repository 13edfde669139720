"""Influence by simulation: curricula that differ in one example alone, and the mean difference that it makes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, Progress
from gptfl.core.curriculum import RunStream, generator, run_seed
from gptfl.errors import DataError
from gptfl.influence.self_influence import InitialMetrics, initial_metrics, of_tests, pool_as_test
from gptfl.influence.targets import DROP, Influence, InfluenceTarget
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

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
            ids = np.concatenate([np.broadcast_to(self.others, (len(names), len(self.others))), names[:, None]], axis=1)
            values = reading.of(
                final(np.where(self.template == EMPTY, -1, ids[:, self.template])).astype(np.float64), self.due
            )
            total += values.sum(axis=0)
            there = np.flatnonzero((self.told >= begin) & (self.told < begin + len(names)))
            own[there] = values[self.told[there] - begin, there]
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


MAX_NUMBERS = 2**22
"""So many batch entries and predicted values are held at once (32 MB)."""
TESTS = 1024
"""So many training examples stand among the test examples at once, for influence on themselves."""
ALMOST = 1e-9
"""A spread of influences below this share of the metric's own size is rounding."""


def simulated(
    source: FittedSimulator,
    subject: InfluenceTarget,
    how: str,
    own: InitialMetrics | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Influence:
    """Influence as the difference that dropping an example, or putting it in another's place, makes to simulated runs.

    Args:
        source: the simulator.
        subject: the test examples, or each training example itself.
        how: ``drop`` or ``replace``.
        own: the training examples' own metric before training, for influence on themselves.
        features: the vectors, or their file; None for those in the workspace.
        orders: how often each example is dropped or put in another's place.
        seed: draws the runs.
        progress: called along the way.

    Raises ``DataError`` where runs have the whole pool and none is left to replace another.
    """
    pool = len(source.recording.dynamics.pool)
    recipe = typical_recipe(source)
    first = source.first(int(recipe.grid[0]))
    notes: tuple[str, ...] = ()
    if subject.itself:
        source = replace(source, scope=pool_as_test(source, features))
        first, notes = initial_metrics(source, recipe, own, first)
    trials: list[Drop | Replace]
    if how == DROP:
        trials = list(drops(recipe, pool, orders, seed))
        notes += (
            "--how drop leaves an example's places empty: the others in its batches count for them, as in training; "
            "where nothing is left of a batch there is a step less: an extrapolation from runs all of one length",
        )
    else:
        trials = list(replacements(recipe, pool, orders, seed))
    influence = _influence(source, subject, recipe, trials, first, progress, how)
    sign = 1.0 if source.metric.higher_is_better else -1.0
    if np.ptp(influence) <= ALMOST * max(float(np.abs(first).mean()), 1e-30):
        notes += (f"{source.found.estimator} tells no example from another: all have the same influence",)
        influence = np.full(pool, influence.mean())
    return Influence(sign * influence, how, int(recipe.grid[-1]), notes)


def _influence(
    source: FittedSimulator,
    subject: InfluenceTarget,
    recipe: RunSchedule,
    trials: Sequence[Drop | Replace],
    first: Float[np.ndarray, " test"],
    progress: Progress,
    how: str,
) -> Float[np.ndarray, " pool"]:
    """The mean effect of each training example over trials; on themselves, of some of them at a time."""
    pool, influence = len(source.recording.dynamics.pool), np.empty(len(source.recording.dynamics.pool))
    size, done = TESTS if subject.itself else pool, 0
    starts = range(0, pool, size)
    total = sum(trial.about(begin, begin + size).size for begin in starts for trial in trials)
    for begin in starts:
        some = replace(source, scope=of_tests(source.scope, begin, begin + size)) if subject.itself else source
        values = first[begin : begin + size] if subject.itself else first
        chunk = max(1, MAX_NUMBERS // (int(recipe.seen) + len(recipe.grid) * len(values)))

        def final(
            batches: Int[np.ndarray, "run step batch"],
            some: FittedSimulator = some,
            values: Float[np.ndarray, " test"] = values,
        ) -> Float[np.ndarray, "run test"]:
            nonlocal done
            found = some.predict(recipe.query(batches, values)).values[:, -1]
            done += len(batches)
            progress("rank", done, total, f"{some.found.estimator}, --how {how}")
            return found

        ours = [trial.about(begin, begin + size) for trial in trials]
        effects = mean_effects(ours, final, Reading(subject.tests, begin), pool, chunk)
        influence[begin : begin + size] = effects[begin : begin + size]
    return influence


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


def typical_recipe(source: FittedSimulator) -> RunSchedule:
    """What most runs followed; where they saw different numbers of examples, the number in the middle."""
    dynamics = source.recording.dynamics
    recipe = recorded_schedule(dynamics, source.metric)
    if recipe.subset is not None:
        return recipe
    sizes = [len(np.setdiff1d(run.curriculum.batches, [-1])) for run in dynamics.runs]
    return replace(recipe, subset=int(np.median(sizes)))
