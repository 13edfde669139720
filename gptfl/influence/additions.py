"""What adding new rows would do, before any training: to the mean of the test examples and to groups of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.core import MetricInfo, Progress
from gptfl.core.display import Listed
from gptfl.errors import DataError, PluginError
from gptfl.influence.closed_form import WIDTH, by_keyword, new_tokens, target_weights
from gptfl.influence.removal import average_worth, presentations
from gptfl.options.defaults import FEW_RUNS
from gptfl.plugins.optional import HasGroupInfluence
from gptfl.recording.row_groups import group_rows
from gptfl.simulation.caveats import NOVEL
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

ALL = "all test examples"
FINE, WORSE, FAR = 0, 1, 6
"""Exit codes: nothing speaks against the rows; they make it clearly worse; nothing recorded tells what they do."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What all new rows together do to the mean of some test examples, positive where they make it better.

    ``influence`` is in the metric's units, and ``low`` and ``high`` are the ends of its interval. ``novelty`` is how much of what they may do the recorded runs leave open: 0 nothing, 1 all.
    """

    target: str
    tests: int
    influence: float
    low: float
    high: float
    novelty: float

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high < 0.0


@dataclass(frozen=True, slots=True)
class Check(Listed):
    """What new rows do; ``code`` is 0, 1 where it is clearly worse for some target, else 6 where nothing recorded tells."""

    recording: str
    estimator: str
    metric: MetricInfo
    step: int
    rows: int
    additions: tuple[Addition, ...]
    output: Path | None = None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    @property
    def code(self) -> int:
        """What the command line exits with."""
        if any(one.is_worse for one in self.additions):
            return WORSE
        return FAR if self.additions[0].novelty > NOVEL else FINE

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.code == WORSE:
            worse = ", ".join(one.target for one in self.additions if one.is_worse)
            return f"clearly worse for {worse}"
        if self.code == FAR:
            return "too far from what was recorded to be told: record runs with them"
        return "nothing speaks against them"


def added(source: FittedSimulator, by: str | None, progress: Progress) -> tuple[Addition, ...]:
    """What the new rows of a simulator do to all test examples, then to each group of them by the field ``by``.

    The whole pool and the new rows are trained on by the recorded recipe, each row seen as often as the pool's are, and
    the run is longer by that. Raises ``DataError`` where the estimator has no influence of groups, fewer than two runs
    recorded the end, or no test example has the field, and ``PluginError`` for an answer that is not finite.
    """
    dynamics = source.recording.dynamics
    tests = np.arange(len(dynamics.test))
    targets: list[tuple[str, Int[np.ndarray, " chosen"]]] = [(ALL, tests)]
    if by is not None:
        grouping = group_rows(dynamics.test, by, "test example")
        targets += [(name, tests[grouping.of == number]) for number, name in enumerate(grouping.names)]
    found = []
    for number, (name, chosen) in enumerate(targets, 1):
        found.append(_addition(source, name, chosen))
        progress("check", number, len(targets))
    return tuple(found)


def _addition(source: FittedSimulator, name: str, tests: Int[np.ndarray, " chosen"]) -> Addition:
    estimator, who = source.named.estimator, source.named.part.who
    worth = average_worth(source, tests)
    if worth is None or not isinstance(estimator, HasGroupInfluence):
        why = "its estimator tells no influence of rows together" if worth is not None else "it has too few runs"
        raise DataError(f"{source.path} can't tell what new rows do: {why}", f"record more, or fit {FEW_RUNS}")
    # Recorded rows that it was fitted without aren't new.
    new = np.arange(len(source.recording.dynamics.pool), len(source.scope.pool))
    sets = {} if source.scope.features is None else source.scope.features.sets
    vectors = {key: np.asarray(one.train[new]) for key, one in sets.items()}
    part = (np.full(len(new), -1), vectors, np.zeros(len(new), dtype=np.int64))
    tokens = new_tokens(source)
    more = by_keyword(None if tokens is None else tokens[new])
    answer = estimator.influence_of_groups([part], 1, target_weights(source, tests)[0], **more)
    if answer is None:
        raise DataError(f"{source.path} was fitted to one run, which tells of its own rows alone", "record another run")
    mean, spread, before = (float(np.asarray(one)[0]) for one in answer)
    if not np.isfinite([mean, spread, before]).all():
        raise PluginError(f"{who} told influences that are not finite", "mend it")
    times = presentations(
        recorded_schedule(source.recording.dynamics, source.metric), len(source.recording.dynamics.pool)
    )
    value = times * mean + len(new) * worth.value
    half = WIDTH * float(np.hypot(times * spread, len(new) * worth.spread))
    novelty = min(1.0, (spread / before) ** 2) if before > 0.0 else 0.0
    return Addition(name, len(tests), value, value - half, value + half, novelty)
