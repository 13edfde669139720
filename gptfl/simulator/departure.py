"""How much more uncertain the average run is for step sizes and batch sizes that weren't recorded."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.records import Query
from gptfl.simulator.clock import Clock, Places, since

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


def departure(
    query: Query,
    places: Places,
    clock: Clock,
    sizes: BatchSizes,
    centre: Float[np.ndarray, "run grid test"],
) -> Float[np.ndarray, "run asked test"] | None:
    """Standard deviations to add for step sizes and batch sizes that were not recorded; None where all were.

    The average run, ``centre``, is looked up where step sizes have added up to as much. Other step sizes: were it the
    number of steps that counts, it would be elsewhere; how far apart the two are is the deviation, though no more than
    the average run has moved, for no step size moves nothing. Other batch sizes: where gradients are mostly noise, an
    optimiser that divides by their size makes steps longer by the root of the batch size, where they aren't, no longer;
    how far apart these two are is a deviation as well.
    """
    filled = (query.batches >= 0).any(axis=2)
    ratio = np.sqrt(sizes.ratio(query.batches))
    if places.plain.all() and (ratio == 1.0).all():
        return None
    grid, first = places.grid, int(query.steps[0])
    rates = np.where(filled, query.learning_rates, 0.0)

    def course(at: Float[np.ndarray, "run asked"]) -> Float[np.ndarray, "run asked test"]:
        return between_rows(grid, centre, np.clip(at, grid[0], grid[-1]))

    here = course(places.asked)
    by_steps = course(np.broadcast_to(query.steps.astype(np.float64), places.asked.shape))
    moved = np.abs(here - course(np.broadcast_to(float(first), places.asked.shape)))
    variance = np.where(places.plain[:, None, None], 0.0, np.minimum(np.abs(by_steps - here), moved)) ** 2
    noisy = (ratio != 1.0).any(axis=1)
    if noisy.any():
        asked = np.minimum(query.steps, rates.shape[1])
        found = [
            np.abs(course(clock.along(since(rates * longer, first), first, grid)[:, asked]) - here)
            for longer in (ratio, 1.0 / ratio)
        ]
        variance = variance + np.where(noisy[:, None, None], np.maximum(*found), 0.0) ** 2
    return np.asarray(np.sqrt(variance))


def between_rows(
    grid: Int[np.ndarray, " grid"], values: Float[np.ndarray, "run grid test"], at: Float[np.ndarray, "run asked"]
) -> Float[np.ndarray, "run asked test"]:
    """Each run's values at places of its own, linearly between the steps of the grid."""
    left = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, max(0, len(grid) - 2))
    right = np.minimum(left + 1, len(grid) - 1)
    weight = ((at - grid[left]) / np.maximum(grid[right] - grid[left], 1))[:, :, None]
    run = np.arange(len(values))[:, None]
    return np.asarray((1.0 - weight) * values[run, left] + weight * values[run, right])
