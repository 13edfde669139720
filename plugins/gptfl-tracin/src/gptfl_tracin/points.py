"""Points of a reference run: which to use, which of them a step goes by, and what gradients predict there."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

ENTRIES = 8_000_000
"""How many products are gathered at once (64 MB), unless a single batch takes more."""


@dataclass(frozen=True, slots=True)
class Points:
    """Gradient products at ascending steps of a reference run of ``length`` steps.

    ``products[k, i, j]`` is training example i's gradient times test example j's at point k, ``itself[k, i]`` the
    product of i's with its own, and ``rates[k]`` the mean step size of the reference run in the segment of point
    k: from there to the next point, the first one's from the start.
    """

    steps: Int[np.ndarray, " point"]
    length: int
    products: Float[np.ndarray, "point pool test"]
    itself: Float[np.ndarray, "point pool"]
    rates: Float[np.ndarray, " point"]
    relative: Float[np.ndarray, " pool"] | None = None
    """How much each training example counts in a batch, as its products do already; None where all count alike."""

    def changes(
        self, batches: Int[np.ndarray, "step batch"], rates: Float[np.ndarray, " step"], interpolate: bool
    ) -> Float[np.ndarray, "step test"]:
        """The change of each test example's loss that each step of one run brings, to first order.

        -rate * mean of the products over the batch, at the point of the reference run that the step goes by;
        batches are padded with -1, and one without examples changes nothing.
        """
        there = batches >= 0
        filled = np.flatnonzero(there.any(axis=1))
        length = int(filled[-1]) + 1 if len(filled) else 0
        result = np.zeros((len(batches), self.products.shape[2]))
        left, right, share = self._at(length, interpolate)
        size = max(1, ENTRIES // max(1, batches.shape[1] * self.products.shape[2]))
        for start in range(0, length, size):
            part = slice(start, min(start + size, length))
            members = np.where(there[part], batches[part], 0)
            counted = there[part] * (1.0 if self.relative is None else self.relative[members])
            whole = counted.sum(axis=1, keepdims=True)
            weights = there[part] / np.where(whole > 0, whole, 1.0)
            mean = self._mean(left[part], members, weights)
            if interpolate:
                towards = self._mean(right[part], members, weights)
                mean += share[part, None] * (towards - mean)
            result[part] = -rates[part, None] * mean
        return result

    def _mean(
        self, points: Int[np.ndarray, " step"], members: Int[np.ndarray, "step batch"], weights: np.ndarray
    ) -> Float[np.ndarray, "step test"]:
        return np.asarray(np.einsum("sb,sbt->st", weights, self.products[points[:, None], members]))

    def _at(
        self, length: int, interpolate: bool
    ) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"], Float[np.ndarray, " step"]]:
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
