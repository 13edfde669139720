"""Removal curves: which rows are left out, the trainings that takes, and what simulators say of the very same batches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo
from gptfl.core.curriculum import Stream, generator
from gptfl.core.packing import stacked_batches
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.paired import noise_of
from gptfl.evaluation.verification import LEVEL
from gptfl.influence.ranking import Ranking
from gptfl.simulation.forms import TargetChanges
from gptfl.simulation.schedule import RunSchedule
from gptfl.simulation.simulator import FittedSimulator
from gptfl.studies.results import DIVERGED, HARMFUL, HELPFUL, RANDOM, DroppedSets, PredictedChange
from gptfl.studies.retraining import Retrainer, Training

SIZES = "give numbers of rows, or shares of the pool, such as 5,10 or 5%,10%"


def sizes_of(given: str | Sequence[int | str], pool: int) -> tuple[int, ...]:
    """How many rows are left out, in ascending order, each size once.

    Args:
        given: numbers of rows or shares of the pool, separated by commas or in a sequence.
        pool: how many rows there are.

    Raises ``UsageError`` for what is neither, for none at all, and where no row or not one of the others is left out.
    """
    words = given.split(",") if isinstance(given, str) else list(given)
    if not words:
        raise UsageError("--sizes is empty", SIZES)
    return tuple(sorted({_size(word, pool) for word in words}))


def _size(word: object, pool: int) -> int:
    text = word.strip() if isinstance(word, str) else f"{word}"
    number = text.removesuffix("%")
    try:
        if isinstance(word, bool):
            raise ValueError
        size = round(float(number) / 100 * pool) if text.endswith("%") else int(number)
    except (ValueError, OverflowError):
        raise UsageError(f"--sizes has {text!r}", SIZES) from None
    if not 1 <= size < pool:
        rows = "" if number == text else f", {size} rows"
        raise UsageError(f"--sizes has {text}{rows} of a pool of {pool}", f"give 1 to {pool - 1} rows")
    return size


@dataclass(frozen=True, slots=True)
class DropPlan:
    """Sets of so many rows, as places in the pool, ascending: of a kind, and of a ranking where they aren't random."""

    kind: str
    ranking: str | None
    size: int
    sets: tuple[tuple[int, ...], ...]

    def trainings(self, orders: int) -> list[list[Training]]:
        """Of each set, the training in each order."""
        return [[Training(order, without=one) for order in range(orders)] for one in self.sets]


def plan_drops(
    rankings: Sequence[Ranking], sizes: Sequence[int], random_sets: int, pool: int, seed: int
) -> list[DropPlan]:
    """For each size, the most harmful and the most helpful rows of each ranking, and random sets.

    A random set of a larger size holds those of the smaller ones, as sets by a ranking do, and more sizes or sets change
    none that there are.

    Args:
        rankings: of the whole pool.
        sizes: how many rows to leave out.
        random_sets: how many random sets of each size.
        pool: how many rows there are.
        seed: draws the random sets.
    """
    drawn = [generator(seed, Stream.REMOVED_ROWS, number).permutation(pool) for number in range(random_sets)]
    plans = []
    for size in sizes:
        for ranking in rankings:
            order = ranking.order
            plans.append(DropPlan(HARMFUL, ranking.label, size, (_ascending(order[-size:]),)))
            plans.append(DropPlan(HELPFUL, ranking.label, size, (_ascending(order[:size]),)))
        plans.append(DropPlan(RANDOM, None, size, tuple(_ascending(draw[:size]) for draw in drawn)))
    return plans


def _ascending(places: Sequence[int] | Int[np.ndarray, " size"]) -> tuple[int, ...]:
    return tuple(sorted(int(place) for place in places))


def distinct_trainings(plans: Sequence[DropPlan], orders: int) -> list[Training]:
    """The whole pool in each order, then every set in each, each training once."""
    whole = [Training(order) for order in range(orders)]
    return list(dict.fromkeys((*whole, *(one for plan in plans for row in plan.trainings(orders) for one in row))))


def noise_of_sets(
    changes: Float[np.ndarray, "set order"], metric: MetricInfo
) -> tuple[float | None, tuple[float, float] | None, str]:
    """The standard error of the mean change, its interval and what that says, as ``noise_of`` has them.

    Of one set it is over orders. Of several sets their means may vary, and so may those of the orders, for all sets are
    held against the whole pool in the same order: of both it is the one that leaves the interval wider.
    """
    if not np.isfinite(changes).all():
        return None, None, DIVERGED
    over_orders = noise_of(changes.mean(axis=0), metric)
    if len(changes) == 1 or over_orders[1] is None:
        return over_orders
    over_sets = noise_of(changes.mean(axis=1), metric)
    assert over_sets[1] is not None
    return max(over_orders, over_sets, key=lambda one: one[1][1] - one[1][0] if one[1] else math.inf)


def whole_values(retrainer: Retrainer, orders: int) -> Float[np.ndarray, " order"]:
    """What the whole pool came to in each order."""
    return np.asarray(_values(retrainer, [[Training(order) for order in range(orders)]])[0])


def _values(retrainer: Retrainer, trainings: Sequence[Sequence[Training]]) -> Float[np.ndarray, "set order"]:
    name = retrainer.metrics[0].info.name
    return np.array([[retrainer.result(one)[name] for one in row] for row in trainings])


def dropped_sets(
    plan: DropPlan,
    retrainer: Retrainer,
    whole: Float[np.ndarray, " order"],
    predicted: Mapping[str, PredictedChange],
) -> DroppedSets:
    """What the trainings of a plan came to.

    Args:
        plan: the sets.
        retrainer: that has trained on the pool less each of them.
        whole: what the whole pool came to in each order.
        predicted: what simulators say of it, by the label of their ranking.
    """
    values = _values(retrainer, plan.trainings(len(whole)))
    changes = values - whole
    error, interval, verdict = noise_of_sets(changes, retrainer.metrics[0].info)
    ids = tuple(tuple(retrainer.pool[place].id for place in one) for one in plan.sets)
    return DroppedSets(
        plan.kind,
        plan.ranking,
        plan.size,
        ids,
        values,
        changes,
        float(changes.mean()),
        error,
        interval,
        verdict,
        predicted,
    )


@dataclass
class DropPredictor:
    """What one simulator says of the batches that a study trains.

    ``tests`` are the places of the target test examples. Nothing is predicted in other orders than those trained.
    """

    source: FittedSimulator
    recipe: RunSchedule
    retrainer: Retrainer
    tests: Int[np.ndarray, " chosen"]
    orders: int

    def __post_init__(self) -> None:
        self.whole = self._end([Training(order) for order in range(self.orders)])
        self.spread = TargetChanges.of(self.source, self.recipe, self.tests)

    @classmethod
    def of(
        cls,
        source: FittedSimulator,
        recipe: RunSchedule,
        retrainer: Retrainer,
        tests: Int[np.ndarray, " chosen"],
        orders: int,
    ) -> "DropPredictor | str":
        """The predictor, or in words why the simulator can predict nothing of such trainings.

        Args:
            source: the simulator.
            recipe: by which its recorded runs were trained.
            retrainer: whose batches are predicted.
            tests: the places of the target test examples.
            orders: in so many orders.
        """
        name = source.found.estimator
        if source.named.estimator.tags.oracle:
            return f"{name} ranks and predicts nothing: it looks along the runs that it explains"
        try:
            return cls(source, recipe, retrainer, tests, orders)
        except DataError as error:
            return f"{name} ranks and predicts nothing: {error.problem}"

    def predict(self, plan: DropPlan) -> PredictedChange:
        """The predicted change of the mean over the target test examples at the last step, in the mean over sets."""
        change = float(np.mean([self._end(row) for row in plan.trainings(self.orders)]) - self.whole)
        if self.spread is None:
            return PredictedChange(change, None)
        pool = np.arange(len(self.retrainer.pool))
        rests = [np.setdiff1d(pool, one) for one in plan.sets]
        return PredictedChange(change, self.spread.intervals(rests, pool, change).get(LEVEL))

    def _end(self, trainings: Sequence[Training]) -> float:
        """What the simulator says these end with, in their mean."""
        batches = stacked_batches([self.retrainer.plan(0, one).batches for one in trainings])
        query = self.recipe.query(batches, self.source.first(int(self.recipe.grid[0])))
        return float(self.source.predict(query).values[:, -1, self.tests].astype(np.float64).mean())
