"""Influence as if a row were not there: what removing it, and training on the rest as before, would change.

In closed form an estimator tells what seeing example i once does in place of the average one, ``c_i``: that has the
average example at 0, and about half of any pool below it. Where a row is removed and every other one is seen as often
as before, the run is shorter by what the row had of it. With ``E`` the sum of the step sizes, ``N`` the pool's size and
``m`` the average run's metric by the step sizes taken so far,

    influence_i = seen / N * c_i + E / N * dm / dE

to first order in ``1 / N``. The second term is what an average row's share of the training is worth. It is read off the
end of the recorded runs, and is the same for all rows (but for how much each counts in a batch). A run that ends earlier
has its step sizes fall faster, too; that it ends where the recorded one is when as much has been taken is exact where
steps are small, and an approximation elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import REPEAT, Features, Progress
from gptfl.core.examples import relative_weights
from gptfl.designs.draws import NEXT_FROM
from gptfl.errors import DataError
from gptfl.influence.closed_form import on_target
from gptfl.influence.targets import REMOVE, Influence, InfluenceTarget
from gptfl.options.defaults import FEW_RUNS
from gptfl.plugins.optional import TellsInfluence
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

WINDOW = 0.1
"""The end of the runs is the last part in which this share of the step sizes is taken, or more."""


@dataclass(frozen=True, slots=True)
class AverageWorth:
    """What the average row's share of a run is worth, in the metric's units, positive where it makes it better.

    ``spread`` is its standard error over the ``runs``; ``share`` of the step sizes is taken from step ``since`` on.
    """

    value: float
    spread: float
    since: int
    share: float
    runs: int


def average_worth(source: FittedSimulator, tests: Int[np.ndarray, " chosen"]) -> AverageWorth | None:
    """What an average row's share of a recorded run is worth to the mean of some test examples, given by their places.

    In the metric's units. Runs that were chosen by what they tell (``collect --next``) are left out: they are unlike the
    average run. None where fewer than two runs recorded the end, or the step sizes are not known.
    """
    dynamics = source.recording.dynamics
    if dynamics.settings.lacks_rates:
        return None
    recipe = recorded_schedule(dynamics, source.metric)
    passed = np.append(0.0, np.cumsum(recipe.learning_rates))
    begin, end = int(recipe.grid[0]), int(recipe.grid[-1])
    left = passed[end] - passed[recipe.grid[:-1]]
    total = float(passed[end] - passed[begin])
    if total <= 0.0:
        return None
    since = int(recipe.grid[:-1][np.flatnonzero(left >= WINDOW * total)[-1]])
    slopes = []
    for run in dynamics.runs:
        values = run.metrics[source.metric.name]
        at = [np.flatnonzero(run.steps == step) for step in (since, end)]
        taken = float(run.curriculum.learning_rates[since:end].sum())
        chosen = run.index >= NEXT_FROM
        if run.role == REPEAT or chosen or not all(map(len, at)) or taken <= 0.0:
            continue
        change = float(values[at[1][0], tests].mean() - values[at[0][0], tests].mean())
        if np.isfinite(change):
            slopes.append(change / taken)
    if len(slopes) < 2:
        return None
    sign = 1.0 if source.metric.higher_is_better else -1.0
    unit = total / len(dynamics.pool)
    found = np.array(slopes)
    spread = float(found.std(ddof=1) / np.sqrt(len(found)))
    share = float(passed[end] - passed[since]) / total
    return AverageWorth(sign * float(found.mean()) * unit, spread * unit, since, share, len(found))


def has_removal(source: FittedSimulator, subject: InfluenceTarget) -> bool:
    """Whether influence on this target, as if a row were not there, can be computed (``removal``)."""
    if subject.tests is None or not isinstance(source.named.estimator, TellsInfluence):
        return False
    fitted = bool((source.scope.test_seen[subject.tests] >= 0).all())
    return fitted and average_worth(source, subject.tests) is not None


def removal(
    source: FittedSimulator, subject: InfluenceTarget, features: str | Path | Features | None, progress: Progress
) -> Influence:
    """The influence of each row, as if it were not there: the metric at the last recorded step with it, less without.

    The whole pool is trained on by the recorded recipe, and every other row is seen as often as with it.

    Args:
        source: the simulator, of an estimator that has influence in closed form.
        subject: what the influence is on: test examples, and not the rows themselves.
        features: the vectors that it was fitted on, or their file; None for those in the workspace.
        progress: called after each part of the vectors.

    All arrays have the shape ``[pool]`` and the metric's units, positive where the row makes it better. Raises
    ``DataError`` where the estimator has no influence in closed form, fewer than two runs recorded the end, the step
    sizes aren't known, or the vectors aren't to be found, and ``PluginError`` where the estimator's answer is ill-shaped.
    """
    name = source.found.estimator
    if subject.tests is None or not isinstance(source.named.estimator, TellsInfluence):
        lacks = "on the examples themselves" if subject.tests is None else "without an influence_of"
        raise DataError(
            f"{name} can't tell --how remove {lacks}", f"use --how drop, or an estimator such as {FEW_RUNS}"
        )
    worth = average_worth(source, subject.tests)
    if worth is None:
        raise DataError(
            f"{source.recording.path} doesn't tell what the end of a run does: fewer than two runs recorded it, or their "
            "step sizes aren't known",
            "use --how closed-form",
        )
    mean, spread, before = on_target(source, subject.tests, features, progress)
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    # Rows that no run has seen are held against the pool recorded, and seen as often as its rows.
    times = presentations(recipe, len(source.recording.dynamics.pool))
    relative: Float[np.ndarray, " pool"] | None = relative_weights(source.scope.pool)
    each = np.ones(len(mean)) if relative is None else relative
    without = int((times * mean < 0.0).sum())
    note = (
        f"an average row's share of the training is worth {worth.value:+.3g} ±{worth.spread:.1g} of "
        f"{source.metric.name} (from the {worth.share:.0%} of the step sizes taken after step {worth.since}, over "
        f"{worth.runs} runs); it is part of every influence, for without the row the run is shorter. Where the others take "
        f"its steps instead (--how closed-form), {without} of {len(mean)} rows are below 0"
    )
    return Influence(
        times * mean + each * worth.value,
        REMOVE,
        int(recipe.grid[-1]),
        (note,),
        np.hypot(times * spread, each * worth.spread),
        times * before,
        each * worth.spread,
    )


def presentations(recipe: RunSchedule, pool: int) -> float:
    """How often each row is seen where a pool of so many rows is trained on by a recipe; need not be whole."""
    return recipe.seen / pool
