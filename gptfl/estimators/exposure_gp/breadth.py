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
"""By so much of what the average run changes while its step sizes add up to e times as much, a run may end elsewhere for each
factor of e in the number of examples: one standard deviation. Rows seen again may teach anything between nothing and as much as
new ones; the root mean square of a number that is anywhere between 0 and 1 (``docs/exposure-gp.md``, "Other numbers of examples
than recorded")."""
MOST = 0.1
"""That change is taken for no more than this share of all that has changed; it is so much where too few steps were recorded to
tell it. Trainings that go on learning fast end less far apart by their numbers of examples than their slope would have it."""
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
    runs = replace(runs, relative=None, fading=None)
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
    values: Float[np.ndarray, "run recorded test"], steps: Int[np.ndarray, " recorded"], clock: Clock
) -> Float[np.ndarray, " recorded"]:
    """What the average run changes while its step sizes add up to e times as much, as a share of all that it has changed.

    That is its slope over the logarithm of that sum, from the earliest recorded step at which the sum was an e-th or more of what it is.
    Had rows that come again taught nothing, a run on an e-th of the rows would end where one on all of them was at an
    e-th of the sum. What all runs learn at once, such as the format of the answers, is long behind by then and counts for
    nothing. Root mean squares over test examples, less what runs that differ by chance make of the slope; at most ``MOST``,
    and so much where no step was recorded since that was an e-th.

    Args:
        values: of the runs fitted (NaN: unknown), on the scale on which effects add up.
        steps: the recorded steps, ascending.
        clock: what the step sizes of these runs add up to.
    """
    passed = clock.passed(steps)
    found = np.full(len(steps), MOST)
    for row in range(1, len(steps)):
        before = int(np.searchsorted(passed, passed[row] / np.e))
        if not 0.0 < passed[before] < passed[row]:
            continue
        change = squared(values[:, row] - values[:, before]) / np.log(passed[row] / passed[before]) ** 2
        whole = squared(values[:, row] - values[:, 0])
        found[row] = min(np.sqrt(change / whole), MOST) if whole > 0.0 else 0.0
    return found


def squared(changes: Float[np.ndarray, "run test"]) -> float:
    """The mean over test examples of the square of what changes in the mean over runs, less what chance adds to it."""
    known = np.isfinite(changes)
    count = known.sum(axis=0)
    told = count > 0
    if not told.any():
        return 0.0
    changes, known, count = np.where(known, changes, 0.0)[:, told], known[:, told], count[told]
    mean = changes.sum(axis=0) / count
    spread = (np.where(known, changes - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count - 1, 1) / count
    return max(float((mean**2 - spread).mean()), 0.0)


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
