"""Points of a reference run: which to use, which of them a step goes by, and what gradients predict there."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl_tracin.products import Products, weighted_sums


@dataclass(frozen=True, slots=True)
class Points:
    """Gradient products at ascending steps of a reference run of ``length`` steps.

    ``products[k][i, j]`` is training example i's gradient times test example j's at point k, ``itself[k, i]`` the
    product of i's with its own, and ``rates[k]`` the mean step size of the reference run in the segment of point
    k: from there to the next point, the first one's from the start.
    """

    steps: Int[np.ndarray, " point"]
    length: int
    products: Sequence[Products]
    itself: Float[np.ndarray, "point pool"]
    rates: Float[np.ndarray, " point"]
    relative: Float[np.ndarray, " pool"] | None = None
    """How much each training example counts in a batch, as its products do already; None where all count alike."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many training and how many test examples there are."""
        return self.products[0].shape[0], self.products[0].shape[1]

    def changes(
        self,
        batches: Int[np.ndarray, "run step batch"],
        rates: Float[np.ndarray, "run step"],
        steps: Int[np.ndarray, " recorded"],
        interpolate: bool,
    ) -> Float[np.ndarray, "run recorded test"]:
        """The change of each test example's loss since ``steps[0]`` at each of the steps, to first order.

        A step's change is -rate * mean of the products over the batch, at the point of the reference run that the step
        goes by; batches are padded with -1, and one without examples changes nothing. Each point's products are read
        once for all runs, and of them only the rows of examples that are seen.
        """
        from scipy.sparse import csr_array  # takes as long to load as a simulation

        run, step, column = np.nonzero(batches >= 0)
        row = np.searchsorted(steps, step + 1)
        left, right, share = self._at_steps(batches, interpolate)
        weight = (-rates[..., None] * self._shares(batches))[run, step, column]
        counts = (row > 0) & (row < len(steps))
        run, step, column, row, weight = (one[counts] for one in (run, step, column, row, weight))
        place, example = run * len(steps) + row, batches[run, step, column]
        shape = len(batches) * len(steps), self.shape[0]
        found = np.zeros((shape[0], self.shape[1]))
        for point, products in enumerate(self.products):
            at = (left[run, step] == point) * (1.0 - share[run, step]) + (right[run, step] == point) * share[run, step]
            there = at != 0
            if there.any():
                weights: Any = csr_array((weight[there] * at[there], (place[there], example[there])), shape=shape)
                found += weighted_sums(products, weights)
        return np.cumsum(found.reshape(len(batches), len(steps), -1), axis=1)

    def _shares(self, batches: Int[np.ndarray, "run step batch"]) -> Float[np.ndarray, "run step batch"]:
        """What each place in a batch is divided by: the number of examples there, or what they count together."""
        there = batches >= 0
        counted = there * (1.0 if self.relative is None else self.relative[np.where(there, batches, 0)])
        whole = counted.sum(axis=2, keepdims=True)
        return there / np.where(whole > 0, whole, 1.0)

    def _at_steps(
        self, batches: Int[np.ndarray, "run step batch"], interpolate: bool
    ) -> tuple[Int[np.ndarray, "run step"], Int[np.ndarray, "run step"], Float[np.ndarray, "run step"]]:
        """For each step of each run the point at or before it, the next, and how far it goes by that one."""
        filled = np.asarray((batches >= 0).any(axis=2))
        shape = filled.shape
        left, right, share = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape)
        for run in range(len(filled)):
            there = np.flatnonzero(filled[run])
            length = int(there[-1]) + 1 if len(there) else 0
            left[run, :length], right[run, :length], share[run, :length] = self._at(length)
        return left, right, share if interpolate else np.zeros(shape)

    def _at(self, length: int) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"], Float[np.ndarray, " step"]]:
        """For each step of a run of this length the point at or before it, the next, and how far it is on the way.

        Steps and points meet at the same share of their run's length; in whole numbers, for they may coincide.
        """
        points, steps = self.steps * length, np.arange(length) * self.length
        left = np.clip(np.searchsorted(points, steps, side="right") - 1, 0, None)
        right = np.minimum(left + 1, len(points) - 1)
        gap = np.maximum(points[right] - points[left], 1)
        return left, right, np.clip((steps - points[left]) / gap, 0.0, 1.0) * (right > left)


def spread_evenly(count: int, number: int) -> Int[np.ndarray, " wanted"]:
    """So many different places out of ``count``, the first and the last among them (one: the first)."""
    return np.round(np.linspace(0, count - 1, number)).astype(np.int64)


def mean_rates(steps: Int[np.ndarray, " point"], rates: Float[np.ndarray, " step"]) -> Float[np.ndarray, " point"]:
    """The mean step size in the segment of each point; 0 for a point that no step follows, unless it is alone."""
    edges = np.append(steps, len(rates))
    edges[0] = 0
    parts = [rates[low:high] for low, high in itertools.pairwise(edges)]
    return np.array([part.mean() if len(part) else 0.0 for part in parts])
