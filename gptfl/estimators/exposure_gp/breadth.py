"""Over how many different examples a run's exposure is spread, and how uncertain runs of another spread are.

What is linear in exposures says that a run which sees all examples once ends where runs that see a part of them several
times end on average. It needn't: what is seen again teaches less. How much less, no recording shows whose runs all see as
many examples.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Query
from gptfl.estimators.clock import Clock, Places
from gptfl.estimators.exposure_gp.accumulation import accumulated_counts
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.own_products import Cells

SHARE = 3**-0.5
"""By so much of what the average run changes while its step sizes add up to e times as much (``lately``), a run may end
elsewhere for each factor of e in the number of examples: one standard deviation. Rows seen again may teach anything between
nothing and as much as new ones; the root mean square of a number that is anywhere between 0 and 1
(``docs/exposure-gp.md``, "Other numbers of examples than recorded")."""
MANY = 10_000
"""Of a pool of so many examples and more, sums are taken over what runs see and not over the pool."""
ROUNDING = 0.1
"""So small a difference of logarithms is none: shuffles and step sizes make as much."""


def breadths(runs: Curricula, steps: Int[np.ndarray, " recorded"]) -> Float[np.ndarray, "run recorded"]:
    """How many examples of equal exposure would be spread as far at each step: (sum of exposures)² / sum of squares.

    1 where nothing was seen yet. What an example counts beside others of a batch plays no part.
    """
    count = int(runs.batches.max(initial=-1)) + 1
    found = np.ones((len(runs.batches), len(steps)))
    runs = replace(runs, relative=None)
    if count > MANY:
        cells = Cells.of(runs, steps)
        squares, sums = cells.squares.T, cells.sums.T
        return np.where(squares > 0, sums**2 / np.where(squares > 0, squares, 1.0), 1.0)
    weights = runs.weights
    for place, exposures in enumerate(accumulated_counts(runs.batches, weights, steps, count)):
        squares = (exposures**2).sum(axis=1)
        seen = squares > 0
        found[seen, place] = exposures[seen].sum(axis=1) ** 2 / squares[seen]
    return found


def lately(
    values: Float[np.ndarray, "recorded column"],
    steps: Int[np.ndarray, " recorded"],
    clock: Clock,
) -> Float[np.ndarray, "recorded column"]:
    """What a trajectory changes for a factor of e in what step sizes have added up to, as it is about each recorded step.

    That is the slope over the logarithm of that sum, between a step and the earliest recorded one since the sum was an e-th
    of what it is there; where there is none, the recorded step before. Had rows that come again taught nothing, a run on
    an e-th of the rows would end where one on all of them was at an e-th of the sum. What all runs learn at once, such as the
    format of the answers, is long behind by then, and counts for nothing. Signed, in the units of ``values``; up to the
    first step that changed anything all that has changed.

    Args:
        values: the trajectory at each recorded step, of each test example or other column.
        steps: the recorded steps, ascending.
        clock: what the step sizes of the recorded runs add up to.
    """
    passed = clock.passed(steps)
    found = np.zeros(values.shape)
    for row in range(1, len(steps)):
        before = min(int(np.searchsorted(passed, passed[row] / np.e)), row - 1)
        factors = np.log(passed[row] / passed[before]) if 0.0 < passed[before] < passed[row] else 1.0
        found[row] = (values[row] - values[before]) / factors
    return found


@dataclass(frozen=True, slots=True)
class Breadth:
    """The least and the greatest spread of the runs fitted at each recorded step."""

    steps: Int[np.ndarray, " grid"]
    least: Float[np.ndarray, " grid"]
    most: Float[np.ndarray, " grid"]

    @classmethod
    def of(cls, runs: Curricula, steps: Int[np.ndarray, " grid"]) -> "Breadth":
        """That of recorded runs."""
        found = breadths(runs, steps)
        return cls(steps, found.min(axis=0), found.max(axis=0))

    def apart(self, like: Curricula, query: Query, places: Places) -> Float[np.ndarray, "run asked"] | None:
        """How far asked runs lie outside of these, as a difference of logarithms; 0 inside, None where all are inside.

        Exposures are counted as in the runs ``like`` them.
        """
        own = np.log(breadths(like.like(query.drawn, query.learning_rates), query.steps))
        at = np.clip(places.requested, self.steps[0], self.steps[-1])
        least, most = (np.interp(at, self.steps, np.log(bound)) for bound in (self.least, self.most))
        away = np.maximum(np.maximum(least - own, own - most), 0.0)
        away[away <= ROUNDING] = 0.0
        return away if away.any() else None
