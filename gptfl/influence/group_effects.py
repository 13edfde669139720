"""What whole groups of rows do: each as if none of its rows were there, with the spread of the whole and not of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, Features, Progress
from gptfl.core.examples import tasks_of
from gptfl.errors import PluginError
from gptfl.features.vectors import blocks
from gptfl.influence.closed_form import WIDTH, by_keyword, new_tokens, target_weights, vectors_of
from gptfl.influence.removal import average_worth, presentations
from gptfl.influence.targets import InfluenceTarget
from gptfl.influence.verdicts import HARMFUL, HELPFUL, UNCLEAR, Verdicts, verdicts_on
from gptfl.plugins.optional import HasGroupInfluence
from gptfl.recording.row_groups import CLASS, TASK, Grouping
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

GROUPED = (
    "A group's influence is that of all its rows together: as if none of them were there, and every other row were seen as "
    "often as before."
)
SUMMED = "A group's influence is the sum of its rows', of which nothing says how sure it is."


@dataclass(frozen=True, slots=True)
class GroupEffects:
    """What each group does to the metric, in its units, positive where its rows make it better.

    ``low`` and ``high`` are the ends of its interval at ``LEVEL``, where the estimator gives one. ``of_rows`` counts the
    verdicts on its rows, where there are any.
    """

    grouping: Grouping
    influence: Float[np.ndarray, " group"]
    low: Float[np.ndarray, " group"] | None = None
    high: Float[np.ndarray, " group"] | None = None
    verdicts: Verdicts | None = None
    of_rows: tuple[Mapping[str, int], ...] = ()

    @property
    def meaning(self) -> str:
        """What the numbers are, in a sentence."""
        return SUMMED if self.low is None else GROUPED


def usual_field(pool: Sequence[Example]) -> str:
    """The field that a mixture is of by default: the tasks of a pool that has several, else its classes."""
    return TASK if tasks_of(pool) else CLASS


def group_effects(
    source: FittedSimulator,
    subject: InfluenceTarget,
    grouping: Grouping,
    rows: Float[np.ndarray, " pool"],
    verdicts: Verdicts | None,
    features: str | Path | Features | None,
    progress: Progress,
) -> GroupEffects:
    """The influence of each group, in the metric's units, given that of the rows.

    Args:
        source: the fitted simulator.
        subject: what the influence is on.
        grouping: which rows belong together.
        rows: their influences, in the metric's units; shape ``[pool]``.
        verdicts: on the rows; None where influence isn't computed as if rows were not there.
        features: those that the simulator was fitted on, by default looked for in the workspace.
        progress: called along the way.

    It has an interval and a verdict where the estimator tells whole groups, with what their rows have in common, and the zero
    of the rows is that they are not there; else it is the sum of the rows'. Raises ``DataError`` where the vectors aren't
    to be found, and ``PluginError`` where the estimator's answer is ill-shaped or not finite.
    """
    total = np.bincount(grouping.of, weights=rows, minlength=len(grouping.names))
    if verdicts is None or subject.tests is None:
        return GroupEffects(grouping, total)
    of_rows = tuple(
        {
            verdict: sum(verdicts.of(int(place)) == verdict for place in np.flatnonzero(grouping.of == number))
            for verdict in (HELPFUL, HARMFUL, UNCLEAR)
        }
        for number in range(len(grouping.names))
    )
    found = _in_closed_form(source, subject.tests, grouping, features, progress)
    if found is None:
        return GroupEffects(grouping, total, of_rows=of_rows)
    mean, spread = found
    low, high = mean - WIDTH * spread, mean + WIDTH * spread
    known = verdicts_on(mean, spread, verdicts.fdr)
    # Of a handful of groups, sure ones leave a mean rate of false signs under which any other would pass.
    known = replace(known, decided=known.decided & ((low > 0.0) | (high < 0.0)))
    return GroupEffects(grouping, mean, low, high, known, of_rows)


def _in_closed_form(
    source: FittedSimulator,
    tests: Int[np.ndarray, " chosen"],
    grouping: Grouping,
    features: str | Path | Features | None,
    progress: Progress,
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]] | None:
    """The mean of each group's effect and its spread; None where the estimator or the recording doesn't tell it."""
    estimator, part = source.named.estimator, source.named.part
    worth = average_worth(source, tests)
    if worth is None or not isinstance(estimator, HasGroupInfluence):
        return None
    count, pool = len(grouping.names), len(source.scope.pool)
    with vectors_of(source, features) as vectors:

        def parts() -> Iterator[tuple[Any, Any, Any]]:
            for start, stop in blocks(vectors, pool):
                yield source.scope.pool_seen[start:stop], vectors.rows(start, stop), grouping.of[start:stop]
                progress("rank", stop, pool, f"{part.name}, groups by {grouping.by}")

        more = by_keyword(new_tokens(source))
        answer = estimator.influence_of_groups(parts(), count, target_weights(source, tests)[0], **more)
    if answer is None:
        return None
    mean, spread, _ = (np.asarray(one, dtype=np.float64) for one in answer)
    if mean.shape != (count,) or spread.shape != (count,) or not np.isfinite([mean, spread]).all():
        raise PluginError(f"{part.who} told influences of groups of shape {mean.shape}, not {(count,)}", "mend it")
    times = presentations(recorded_schedule(source.recording.dynamics, source.metric), pool)
    rows = np.bincount(grouping.of, minlength=count)
    return times * mean + rows * worth.value, np.hypot(times * spread, rows * worth.spread)
