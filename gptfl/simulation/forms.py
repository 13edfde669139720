"""What a simulator predicts for any subset of its pool, as arrays: exactly where it is linear, else by adding up effects."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress, silent
from gptfl.core.linear_form import LinearForm
from gptfl.errors import DataError, UsageError
from gptfl.plugins.optional import HasLinearForm
from gptfl.simulation.many import simulate_subsets
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
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


def linear_form_of(source: FittedSimulator, targets: Float[np.ndarray, "target test"] | None = None) -> LinearForm:
    """The arrays of a simulator that is linear in what a run sees, for the recorded recipe.

    ``targets`` are weighted means of the test examples, whose changes the form is to tell together.

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
    about = source.scope.about(query)
    return estimator.linear_form(about) if targets is None else estimator.linear_form(about, targets)


def difference_intervals(
    source: FittedSimulator,
    recipe: RunSchedule,
    members: Int[np.ndarray, " subset"],
    others: Int[np.ndarray, " other"],
    change: float,
    chance: float = 0.0,
) -> Mapping[float, tuple[float, float]]:
    """By level, between which bounds the change lies that training on one subset instead of another makes.

    Of the mean over test examples at the last step, in the mean over every order. Nothing for another recipe than the
    recorded one, and where the estimator tells no spread of a difference.

    Args:
        source: the simulator.
        recipe: by which both are trained.
        members: places in the pool.
        others: those of the subset that it is held against.
        change: what is predicted, about which the interval lies.
        chance: standard error of ``change`` as the mean over every order, where it is of some orders.
    """
    form = _form_of_recorded(source, recipe)
    return {} if form is None else _about(form, change, math.hypot(form.difference(members, others)[1], chance))


def _form_of_recorded(
    source: FittedSimulator, recipe: RunSchedule, targets: Float[np.ndarray, "target test"] | None = None
) -> LinearForm | None:
    """The arrays that tell spreads of differences; None of another recipe, and where the estimator has none."""
    recorded = recorded_schedule(source.recording.dynamics, source.metric)
    alike = recipe.batch_size == recorded.batch_size and np.array_equal(recipe.learning_rates, recorded.learning_rates)
    if not alike or source.new is not None:
        return None
    try:
        return linear_form_of(source, targets)
    except DataError:
        return None


def _about(form: LinearForm, change: float, spread: float) -> Mapping[float, tuple[float, float]]:
    return {level: (change - reach * spread, change + reach * spread) for level, reach in form.intervals.reach.items()}


@dataclass(frozen=True, slots=True)
class TargetChanges:
    """Between which bounds changes of the mean over some test examples lie; ``form`` has that mean as its only target."""

    form: LinearForm

    @classmethod
    def of(
        cls, source: FittedSimulator, recipe: RunSchedule, tests: Int[np.ndarray, " chosen"]
    ) -> "TargetChanges | None":
        """Of the test examples at these places. None where ``difference_intervals`` would have nothing."""
        weights = np.zeros((1, len(source.scope.test)))
        weights[0, tests] = 1 / len(tests)
        form = _form_of_recorded(source, recipe, weights)
        return None if form is None else cls(form)

    def intervals(
        self, sets: Sequence[Int[np.ndarray, " subset"]], others: Int[np.ndarray, " other"], change: float
    ) -> Mapping[float, tuple[float, float]]:
        """By level, the bounds of what training on one of several sets instead of ``others`` changes, in their mean.

        Of the last step, in the mean over every order. What the sets have in common doesn't cancel, as it would if they
        were told apart.

        Args:
            sets: places in the pool, of each set.
            others: those of the subset that they are held against.
            change: what is predicted, about which the interval lies.
        """
        form = self.form
        apart = [float(form.breadth.apart(form.recipe, len(one))[-1]) for one in (*sets, others)]
        shares = np.mean([form.shares_of(one) for one in sets], axis=0) - form.shares_of(others)
        beside = abs(float(np.mean(apart[:-1])) - apart[-1])
        return _about(form, change, float(np.sqrt(form.joint_covariance(shares, beside)[0, 0])))


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
