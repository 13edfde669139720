"""Where a Gaussian process of recorded steps is asked: at these, or between them where another clock says so."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.process import States

Common = Callable[[int, list[Float[np.ndarray, "run test"]]], list[Float[np.ndarray, " test"]]]
"""What was expected of the runs fitted on average at a recorded step."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One question to a recorded step (``row``): where asked runs have come to, and the runs fitted."""

    place: int
    row: int
    requested: States
    fitted: States


def at_rows(requested: Iterator[States], fitted: Iterator[States]) -> Iterator[Visit]:
    """Each recorded step, one after the other."""
    for row, (theirs, ours) in enumerate(zip(requested, fitted, strict=True)):
        yield Visit(row, row, theirs, ours)


@dataclass(frozen=True, slots=True)
class Between:
    """Asked ``steps`` that stand for places between recorded steps.

    ``at`` is the place of each step of the asked runs and of their end, ``rows`` the recorded step before each asked
    one's place, ``weights`` how far it is on the way to the next.
    """

    steps: Int[np.ndarray, " asked"]
    at: Float[np.ndarray, " step_and_end"]
    rows: Int[np.ndarray, " asked"]
    weights: Float[np.ndarray, " asked"]

    @classmethod
    def of(
        cls, steps: Int[np.ndarray, " asked"], at: Float[np.ndarray, " step_and_end"], grid: Int[np.ndarray, " grid"]
    ) -> "Between":
        """The places of asked steps on a grid of recorded ones."""
        places = np.clip(at[np.minimum(steps, len(at) - 1)], grid[0], grid[-1])
        rows = np.clip(np.searchsorted(grid, places, side="right") - 1, 0, max(0, len(grid) - 2))
        after = np.minimum(rows + 1, len(grid) - 1)
        return cls(steps, at, rows, (places - grid[rows]) / np.maximum(grid[after] - grid[rows], 1))

    def visits(
        self,
        requested: Iterator[States],
        fitted: Iterator[States],
        members: Sequence[Int[np.ndarray, " run"]],
        common: Common,
    ) -> Iterator[Visit]:
        """Two visits for each requested step: to the recorded step before and to the one after.

        Both are asked about the requested runs' distance to where the runs fitted have come to at the place between
        them
        (the mean of both steps' members). Like the rest, that place is interpolated linearly.

        Args:
            requested: the states of the requested runs at each step.
            fitted: the states of the runs fitted at each recorded step.
            members: which runs were recorded there.
            common: what was expected of these on average.
        """
        stops = _stops(fitted, members, common)
        left = right = next(stops)
        for place, (effects, expected) in enumerate(requested):
            row, weight = int(self.rows[place]), float(self.weights[place])
            while right.row < min(row + 1, len(members) - 1):
                left, right = right, next(stops)
            for side, stop in enumerate((left, right)):
                theirs = [
                    [one + _ahead(mine, low, high, weight) for one, mine, low, high in zip(*parts, strict=True)]
                    for parts in (
                        (effects, stop.centres, left.centres, right.centres),
                        (expected, stop.common, left.common, right.common),
                    )
                ]
                yield Visit(2 * place + side, stop.row, (theirs[0], theirs[1]), (list(stop.states[0]), stop.states[1]))

    def blended(self, values: Float[np.ndarray, "run visit test"]) -> Float[np.ndarray, "run asked test"]:
        """The answers of each pair of visits, weighed."""
        weights = self.weights[:, None]
        return np.asarray((1.0 - weights) * values[:, 0::2] + weights * values[:, 1::2])


def _ahead(
    mine: Float[np.ndarray, " d"], left: Float[np.ndarray, " d"], right: Float[np.ndarray, " d"], weight: float
) -> Float[np.ndarray, " d"]:
    """From the place between two stops to one of them."""
    return np.asarray(mine - ((1.0 - weight) * left + weight * right))


@dataclass(frozen=True, slots=True)
class _Stop:
    row: int
    states: tuple[list[Float[np.ndarray, "run d"]], list[Float[np.ndarray, "run test"]]]
    centres: list[Float[np.ndarray, " d"]]
    common: list[Float[np.ndarray, " test"]]


def _stops(fitted: Iterator[States], members: Sequence[Int[np.ndarray, " run"]], common: Common) -> Iterator[_Stop]:
    for row, (effects, expected) in enumerate(fitted):
        # The same arrays come each time.
        kept = [np.array(one) for one in effects], [one.copy() for one in expected]
        centres = [one[members[row]].mean(axis=0) for one in kept[0]]
        yield _Stop(row, kept, centres, common(row, kept[1]))
