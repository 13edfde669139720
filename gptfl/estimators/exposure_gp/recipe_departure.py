"""How much more uncertain the average run is for step sizes and batch sizes that weren't recorded."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.core import Query
from gptfl.estimators.clock import Clock, Places, since
from gptfl.estimators.exposure_gp.breadth import SHARE, Breadth, lately
from gptfl.estimators.exposure_gp.requests import RecordedRuns

TYPICAL = (0.1, 0.9)
"""Recorded batches are as mixed as those between these quantiles of them."""


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How many examples recorded batches have, at least and at most, and how many different ones they come to."""

    fewest: int
    most: int
    mixed: tuple[float, float]

    @classmethod
    def of(cls, batches: Int[np.ndarray, "run step batch"]) -> "BatchSizes":
        """Those of recorded runs; steps without examples count for nothing."""
        rows = batches.reshape(-1, batches.shape[-1])
        rows = rows[(rows >= 0).any(axis=1)]
        if not len(rows):
            return cls(0, 0, (1.0, 1.0))
        filled, (low, high) = (rows >= 0).sum(axis=1), np.quantile(mixture(rows), TYPICAL)
        return cls(int(filled.min()), int(filled.max()), (float(low), float(high)))

    def other(self, batches: Int[np.ndarray, "run step batch"]) -> Bool[np.ndarray, "run step"]:
        """Which batches have fewer or more examples than recorded ones, empty ones aside."""
        filled = (batches >= 0).sum(axis=2)
        return np.asarray((filled > 0) & ((filled < self.fewest) | (filled > self.most)))

    def ratio(self, batches: Int[np.ndarray, "run step batch"]) -> Float[np.ndarray, "run step"]:
        """How many times as many different examples as recorded each batch comes to; 1 for one of a recorded size."""
        other = self.other(batches)
        found = np.ones(other.shape)
        own = mixture(batches[other])
        found[other] = own / np.clip(own, *self.mixed)
        return found


def mixture(batches: Int[np.ndarray, "some batch"]) -> Float[np.ndarray, " some"]:
    """How many different examples of equal share would make a mean gradient as noisy: 1 / sum of squared shares."""
    if not batches.size:
        return np.zeros(len(batches))
    ordered = np.sort(batches, axis=1)
    fresh = np.concatenate([np.zeros((len(batches), 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    times = np.zeros(batches.shape)
    np.add.at(times, (np.arange(len(batches))[:, None], fresh.cumsum(axis=1)), ordered >= 0)
    return np.asarray(times.sum(axis=1) ** 2 / np.maximum((times**2).sum(axis=1), 1.0))


class RecordedRecipe:
    """How recorded runs were trained: step sizes, sizes of batches, and over how many examples; found when asked for.

    ``even`` are the scores of these runs on the scale on which effects add up.
    """

    def __init__(self, recorded: RecordedRuns, even: Float[np.ndarray, "run recorded test"]) -> None:
        self._recorded = recorded
        self._even = even

    @cached_property
    def clock(self) -> Clock:
        """What their step sizes add up to."""
        return self._recorded.clock()

    @cached_property
    def sizes(self) -> BatchSizes:
        """How large their batches are."""
        return BatchSizes.of(self._recorded.curricula.batches)

    @cached_property
    def breadth(self) -> Breadth:
        """Over how many examples their exposures are spread."""
        return Breadth.of(self._recorded.curricula, self._recorded.steps)

    @cached_property
    def lately(self) -> Float[np.ndarray, " recorded"]:
        """What the average run changed lately, as a share of all that it has changed (``breadth.lately``)."""
        return lately(self._even, self._recorded.steps, self.clock)


def departure(
    query: Query,
    places: Places,
    recipe: RecordedRecipe,
    centre: Float[np.ndarray, "run grid test"],
    mean: Float[np.ndarray, "run asked test"],
    breadth: Float[np.ndarray, "run asked"] | None = None,
) -> Float[np.ndarray, "run asked test"] | None:
    """Standard deviations to add for step sizes, batch sizes and numbers of examples that were not recorded; None where
    all were.

    That is as if a run came on by what its step sizes add up to. It may come on otherwise. With other step sizes by the
    number of steps, or anything between: an optimiser's first steps and its noise don't shrink with them. With other
    batch
    sizes, an optimiser that divides by the size of gradients makes steps longer by the root of the batch size where
    these
    are mostly noise. The average run would then be elsewhere, and the deviation from it so many times as large. How far
    both are from what is predicted are the deviations; that of step sizes is no more than what has changed at all, for
    none change nothing.

    Args:
        query: curricula, first scores and steps.
        places: where each run is on the clock of step sizes.
        recipe: step sizes and batch sizes of the recorded runs.
        centre: the average run on the recorded steps.
        mean: what is predicted.
        breadth: how far the runs' exposures are from being spread over as many examples as recorded ones
            (``Breadth.apart``): for each unit of it, the average run may be elsewhere by a share of what it changed
            lately.
    """
    longer = np.sqrt(recipe.sizes.ratio(query.drawn))
    if places.plain.all() and (longer == 1.0).all() and breadth is None:
        return None
    grid, first = places.grid, int(query.steps[0])

    def course(at: Float[np.ndarray, "run asked"]) -> Float[np.ndarray, "run asked test"]:
        return between_rows(grid, centre, np.clip(at, grid[0], grid[-1]))

    shape = places.requested.shape
    here = course(places.requested)
    by_steps = course(np.broadcast_to(query.steps.astype(np.float64), shape))
    moved = np.abs(here - course(np.broadcast_to(float(first), shape)))
    apart = np.minimum(np.abs(by_steps - here), moved)
    beside = np.abs(mean - here)
    variance = apart**2 + (_times(places.of(places.pace)) * beside) ** 2
    variance = np.where(places.plain[:, None, None], 0.0, variance)
    if breadth is not None:
        late = np.interp(np.clip(places.requested, grid[0], grid[-1]), grid, recipe.lately)[:, :, None] * moved
        variance = variance + (SHARE * breadth[:, :, None] * late) ** 2
    noisy = (longer != 1.0).any(axis=1)
    if noisy.any():
        rates = np.where((query.batches >= 0).any(axis=2), query.learning_rates, 0.0)
        passed, other = (since(rates * factor, first) for factor in (1.0, longer))
        ends = [recipe.clock.along(one, first, grid) for one in (other, since(rates / longer, first))]
        apart = np.maximum(*(np.abs(course(places.of(one)) - here) for one in ends))
        pace = np.divide(other, passed, out=np.ones(other.shape), where=passed > 0)
        more = apart**2 + (_times(places.of(pace)) * beside) ** 2
        variance = variance + np.where(noisy[:, None, None], more, 0.0)
    return np.asarray(np.sqrt(variance))


def _times(pace: Float[np.ndarray, "run asked"]) -> Float[np.ndarray, "run asked 1"]:
    """By what share of itself a deviation changes at another pace, faster or slower; at most by all of it."""
    slower = np.minimum(pace, 1.0 / np.maximum(pace, 1e-300))
    return np.asarray(np.minimum(1.0 / np.maximum(slower, 0.5) - 1.0, 1.0))[:, :, None]


def between_rows(
    grid: Int[np.ndarray, " grid"], values: Float[np.ndarray, "run grid test"], at: Float[np.ndarray, "run asked"]
) -> Float[np.ndarray, "run asked test"]:
    """Each run's values at places of its own, linearly between the steps of the grid."""
    left = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, max(0, len(grid) - 2))
    right = np.minimum(left + 1, len(grid) - 1)
    weight = ((at - grid[left]) / np.maximum(grid[right] - grid[left], 1))[:, :, None]
    run = np.arange(len(values))[:, None]
    return np.asarray((1.0 - weight) * values[run, left] + weight * values[run, right])
