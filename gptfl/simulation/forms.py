"""What a simulator predicts for any subset of its pool, as arrays: exactly where it is linear, else by adding up effects."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress, silent
from gptfl.core.linear_form import LinearForm
from gptfl.errors import DataError, UsageError
from gptfl.plugins.optional import HasLinearForm
from gptfl.simulation.many import simulate_subsets
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

MOST_SUMMED = 2000
"""Effects of single examples are simulated one by one for pools of at most so many."""
ORDERS = 4
"""In so many random orders."""


@dataclass(frozen=True, slots=True)
class SummedForm:
    """What the whole pool gives, and what leaving out one example each changes of it, in the metric's units.

    What leaving out several changes is taken for the sum, which no simulator says. ``low`` and ``high`` are the metric's
    bounds.
    """

    steps: Int[np.ndarray, " recorded"]
    whole: Float[np.ndarray, "recorded test"]
    effects: Float[np.ndarray, "pool recorded test"]
    low: float
    high: float


def linear_form_of(source: FittedSimulator) -> LinearForm:
    """The arrays of a simulator that is linear in what a run sees, for the recorded recipe.

    Raises ``DataError`` where it isn't, or wasn't fitted to every example, or the recipe allows none.
    """
    estimator = source.named.estimator
    if not isinstance(estimator, HasLinearForm) or not estimator.tags.every_order:
        raise DataError(f"{source.found.estimator} is not linear in what a run sees", "fit exposure-gp")
    if source.scope.sides:
        raise DataError(f"{source.path} was fitted with examples set aside", "fit it without --unseen")
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    try:
        query = recipe.every_order(np.arange(len(source.pool.places)), source.first(int(recipe.grid[0])))
    except UsageError as error:
        raise DataError(error.problem, error.remedy) from error
    return estimator.linear_form(source.scope.about(query))


def summed_form_of(source: FittedSimulator, seed: int, progress: Progress = silent) -> SummedForm:
    """Simulate the whole pool, and the pool without each example.

    Raises ``DataError`` for a pool of more than ``MOST_SUMMED``, and where the estimator can't answer.
    """
    ids = list(source.pool.places)
    if len(ids) > MOST_SUMMED:
        raise DataError(
            f"{source.found.estimator} would have to simulate each of {len(ids)} examples left out, over {MOST_SUMMED}",
            "fit exposure-gp",
        )
    subsets = [ids, *([one for one in ids if one != left] for left in ids)]
    found = simulate_subsets(source, subsets, ORDERS, seed=seed, progress=progress)
    values = found.values.astype(np.float64)
    return SummedForm(found.steps, values[0], values[1:] - values[0], source.metric.low, source.metric.high)
