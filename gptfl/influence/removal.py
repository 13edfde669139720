"""Influence as if a row were not there: what removing it, and training on the rest as before, would change.

In closed form an estimator tells what seeing example i once does in place of the average one, ``c_i``: that has the
average example at 0, and about half of any pool below it. Where a row is removed and every other one is seen as often
as before, the run is shorter by what the row had of it. With ``E`` the sum of the step sizes, ``N`` the pool's size and
``m`` the average run's metric by the step sizes taken so far,

    influence_i = seen / N * c_i + E / N * dm / dE

to first order in ``1 / N``. The second term is what an average row's share of the training is worth, and is the same for
all rows: a run has as many steps as rows, however many tokens these have. It is the slope that the mean of the recorded runs has at their end
(``slope_at_end``). A run that ends earlier has its step sizes fall faster, too; that it ends where the recorded one is when
as much has been taken is exact where steps are small, and an approximation elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import REPEAT, Features, Progress
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
BEFORE = 2.0
"""What comes before it and says how the slope changes is at least so many times as long, where so much was recorded."""


@dataclass(frozen=True, slots=True)
class AverageWorth:
    """What the average row's share of a run is worth, in the metric's units, positive where it makes it better.

    ``secant`` is what the mean slope from step ``since`` on comes to, where ``share`` of the step sizes is taken, and
    ``earlier`` that of the steps before, from step ``before`` on; None where nothing was recorded there. ``sampled`` is the
    standard error over the ``runs``, and ``bent`` how far carrying the slope on to the end took the value from ``secant``.
    """

    value: float
    since: int
    share: float
    runs: int
    sampled: float
    bent: float
    secant: float
    earlier: float | None = None
    before: int | None = None

    @property
    def spread(self) -> float:
        """The standard error, of both."""
        return float(np.hypot(self.sampled, self.bent))

    @property
    def source(self) -> str:
        """Where it is read off, in words."""
        last = f"{self.secant:+.3g} over the {self.share:.0%} of the step sizes taken after step {self.since}"
        if self.earlier is None:
            return f"{last}, before which nothing was recorded that says how it changed, over {self.runs} runs"
        return f"at the end of {self.runs} runs: {last}, and {self.earlier:+.3g} before, from step {self.before}"


def average_worth(source: FittedSimulator, tests: Int[np.ndarray, " chosen"]) -> AverageWorth | None:
    """What an average row's share of a recorded run is worth to the mean of some test examples, given by their places.

    In the metric's units. Runs that were chosen by what they tell (``collect --next``) are left out: they are unlike the
    average run. None where fewer than two runs recorded the end, or the step sizes are not known.
    """
    dynamics = source.recording.dynamics
    if dynamics.settings.lacks_rates:
        return None
    recipe = recorded_schedule(dynamics, source.metric)
    passed = np.append(0.0, np.cumsum(recipe.learning_rates))[recipe.grid]
    total = float(passed[-1] - passed[0])
    if total <= 0.0:
        return None
    last = _latest(passed, len(passed) - 1, WINDOW * total)
    first = _latest(passed, last, BEFORE * WINDOW * total) if last > 0 else last
    edges = np.unique([first, last, len(passed) - 1])
    slopes = _slopes(source, tests, recipe.grid[edges])
    if len(slopes) < 2 and len(edges) > 2:
        edges = edges[1:]
        slopes = _slopes(source, tests, recipe.grid[edges])
    if len(slopes) < 2:
        return None
    unit = total / len(dynamics.pool) * (1.0 if source.metric.higher_is_better else -1.0)
    lengths = np.diff(passed[edges])[::-1]
    each = np.array([slope_at_end(one, lengths) for one in _left_out(slopes)])
    end, mean, count = slope_at_end(slopes.mean(axis=0), lengths), slopes.mean(axis=0) * unit, len(slopes)
    sampled = float(np.sqrt((count - 1) / count * ((each - each.mean()) ** 2).sum())) * abs(unit)
    secant = float(mean[0])
    return AverageWorth(
        value=end * unit,
        since=int(recipe.grid[last]),
        share=float(lengths[0]) / total,
        runs=count,
        sampled=sampled,
        bent=abs(secant - end * unit),
        secant=secant,
        earlier=float(mean[1]) if len(edges) > 2 else None,
        before=int(recipe.grid[first]) if len(edges) > 2 else None,
    )


def _latest(passed: Float[np.ndarray, " recorded"], end: int, least: float) -> int:
    """The last recorded point before ``end`` from which at least so much is taken until then, else the first one."""
    enough = np.flatnonzero(passed[end] - passed[:end] >= least)
    return int(enough[-1]) if len(enough) else 0


def _slopes(
    source: FittedSimulator, tests: Int[np.ndarray, " chosen"], steps: Int[np.ndarray, " edge"]
) -> Float[np.ndarray, "run interval"]:
    """The mean's change by the step sizes taken, of each run between these steps, the last interval first."""
    slopes = []
    for run in source.recording.dynamics.runs:
        values = run.metrics[source.metric.name]
        at = [np.flatnonzero(run.steps == step) for step in steps]
        if run.role == REPEAT or run.index >= NEXT_FROM or not all(map(len, at)):
            continue
        taken = np.diff(np.append(0.0, np.cumsum(run.curriculum.learning_rates))[steps])
        changes = np.diff([float(values[one[0], tests].mean()) for one in at])
        if (taken > 0.0).all() and np.isfinite(changes).all():
            slopes.append((changes / taken)[::-1])
    return np.array(slopes).reshape(len(slopes), len(steps) - 1)


def _left_out(slopes: Float[np.ndarray, "run interval"]) -> Float[np.ndarray, "run interval"]:
    """The mean over all runs but each: what the jackknife is over."""
    return np.asarray((slopes.sum(axis=0) - slopes) / (len(slopes) - 1))


def slope_at_end(slopes: Float[np.ndarray, " interval"], lengths: Float[np.ndarray, " interval"]) -> float:
    """The slope of a curve at its end, from its mean slopes over the last interval and, where there is one, that before.

    A slope that shrinks is taken to shrink by the same factor over equal lengths, as a loss that decays does, so that it
    keeps its sign. One that grows is carried on in a straight line. Where the sign changed, the earlier one counts as 0.

    Args:
        slopes: of the last interval, then of the one before it.
        lengths: of these.

    Of one interval alone half of its slope: that at the end of a decay lies between 0 and all of it.

    On 27 recordings of the tiny model, of 30 and 60 steps, the same recordings with every 5th and 10th step alone come to
    what every step comes to, within the spread of ``AverageWorth`` in 26 and 25 of them; and to what trainings of a tenth
    less and more differ by, within the 90 % interval of both in 27 and 26 (docs/ranking.md). The mean slope of the last
    interval is out by twice as much.
    """
    last = float(slopes[0])
    if len(slopes) < 2:
        return 0.5 * last
    if last == 0.0:
        return last
    # Between the middles of both lies half of their length, and from there to the end half of the last one's.
    ahead = float(lengths[0] / (lengths[0] + lengths[1]))
    ratio = float(slopes[1]) / last
    if ratio > 1.0:
        return last * float(ratio**-ahead)
    return last * (1.0 + ahead * (1.0 - max(ratio, 0.0)))


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
    without = int((times * mean < 0.0).sum())
    note = (
        f"an average row's share of the training is worth {worth.value:+.3g} ±{worth.spread:.1g} of "
        f"{source.metric.name} ({worth.source}); it is part of every influence, for without the row the run is shorter. "
        "Where the others take "
        f"its steps instead (--how closed-form), {without} of {len(mean)} rows are below 0"
    )
    return Influence(
        times * mean + worth.value,
        REMOVE,
        int(recipe.grid[-1]),
        (note,),
        np.hypot(times * spread, worth.spread),
        times * before,
        np.full(len(mean), worth.sampled),
        np.full(len(mean), worth.bent),
    )


def presentations(recipe: RunSchedule, pool: int) -> float:
    """How often each row is seen where a pool of so many rows is trained on by a recipe; need not be whole."""
    return recipe.seen / pool
