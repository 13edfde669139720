"""Influence by putting each example in another's place, of all examples together, where an estimator has a form for that.

The curricula are those that are otherwise simulated one by one, and so is the definition (``Replace``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress
from gptfl.core.packing import stacked_batches
from gptfl.core.replacement_form import ReplacementForm
from gptfl.errors import PluginError
from gptfl.influence.self_influence import of_tests
from gptfl.influence.trials import Replace
from gptfl.plugins.optional import HasReplacementForm
from gptfl.simulation.schedule import RunSchedule
from gptfl.simulation.simulator import FittedSimulator

MAX_NUMBERS = 2**22
"""So many batch entries and values along runs are held at once (32 MB)."""
TESTS = 4096
"""So many training examples stand among the test examples at once, for influence on themselves."""
BLOCK = 2048
"""So many candidates are asked about at once."""


def replacement_effects(
    source: FittedSimulator,
    tests: Int[np.ndarray, " chosen"] | None,
    recipe: RunSchedule,
    trials: Sequence[Replace],
    first: Float[np.ndarray, " test"],
    progress: Progress,
) -> Float[np.ndarray, " pool"] | None:
    """The mean effect of each training example over the trials; None where the estimator has no form for them.

    Args:
        source: the simulator; for effects on themselves, its scope has the pool on both sides.
        tests: places of the test examples whose mean counts; None for each training example itself.
        recipe: of the runs.
        trials: runs in which examples take a member's places.
        first: what the test examples start from.
        progress: called along the way.

    Raises ``DataError`` where a simulation would, and ``PluginError`` where the estimator's answer is ill-shaped or not finite.
    """
    if not isinstance(source.named.estimator, HasReplacementForm):
        return None
    pool = len(source.scope.pool)
    size = pool if tests is not None else TESTS
    starts = range(0, pool, size)
    total = sum(trial.about(begin, begin + size).size for begin in starts for trial in trials)
    ticker = _Ticker(progress, total, f"{source.found.estimator}, --how replace")
    influence = np.empty(pool)
    for begin in starts:
        end = min(begin + size, pool)
        asked = source if tests is not None else replace(source, scope=of_tests(source.scope, begin, end))
        told = [one for one in (trial.about(begin, end) for trial in trials) if one.size]
        values = first if tests is not None else first[begin:end]
        found = _mean_effects(asked, _Questions(tests, begin, end, pool), recipe, told, values, ticker)
        if found is None:
            return None
        influence[begin:end] = found[begin:end]
    return influence


@dataclass(frozen=True, slots=True)
class _Questions:
    """On what effects are asked for: the mean of some test examples or, where ``tests`` is None, each example itself.

    Of a pool of that size examples ``begin`` to ``end`` are told of; on themselves, they are the test examples.
    """

    tests: Int[np.ndarray, " chosen"] | None
    begin: int
    end: int
    pool: int


def _mean_effects(
    source: FittedSimulator,
    questions: _Questions,
    recipe: RunSchedule,
    trials: Sequence[Replace],
    first: Float[np.ndarray, " test"],
    ticker: "_Ticker",
) -> Float[np.ndarray, " pool"] | None:
    """The mean effect of each example that the trials tell of, 0 of others; None without a form."""
    total, count = np.zeros(questions.pool), np.zeros(questions.pool)
    at_once = max(1, MAX_NUMBERS // (int(recipe.seen) + len(recipe.grid) * len(first)))
    for place in range(0, len(trials), at_once):
        some = trials[place : place + at_once]
        form = _form(source, recipe, some, first)
        if form is None:
            return None
        told = _Told(form, source.named.part.who, ticker)
        for trial, effects in zip(some, told.effects(some, questions, len(first)), strict=True):
            total[trial.due] += effects
            count[trial.due] += 1
    return np.divide(total, count, out=np.zeros(questions.pool), where=count > 0)


@dataclass(slots=True)
class _Ticker:
    """Reports how many of the curricula are told."""

    progress: Progress
    total: int
    detail: str
    done: int = 0

    def add(self, rows: Sequence[Int[np.ndarray, " row"]]) -> None:
        """So many more are."""
        self.done += sum(map(len, rows))
        self.progress("rank", self.done, self.total, self.detail)


def _form(
    source: FittedSimulator, recipe: RunSchedule, trials: Sequence[Replace], first: Float[np.ndarray, " test"]
) -> ReplacementForm | None:
    """What candidates do in the places of each trial's first one."""
    estimator = source.named.estimator
    assert isinstance(estimator, HasReplacementForm)  # what this is called for
    batches = stacked_batches([trial.with_each(trial.candidates[:1])[0] for trial in trials])
    replaced = np.array([trial.candidates[0] for trial in trials])
    return estimator.replacement_form(source.scope.about(recipe.query(batches, first)), replaced)


@dataclass(frozen=True, slots=True)
class _Told:
    """A form, whose estimator ``who`` made it, and what reports how far its answers have come."""

    form: ReplacementForm
    who: str
    ticker: _Ticker

    def effects(
        self, trials: Sequence[Replace], questions: _Questions, tests: int
    ) -> Iterator[Float[np.ndarray, " due"]]:
        """The effects that each trial tells, of ``tests`` test examples."""
        if questions.tests is not None:
            weights = np.bincount(questions.tests, minlength=tests) / len(questions.tests)
            return self._on_target(trials, weights, questions.pool)
        return self._on_own(trials, questions)

    def _on_target(
        self, trials: Sequence[Replace], weights: Float[np.ndarray, " test"], pool: int
    ) -> Iterator[Float[np.ndarray, " due"]]:
        ends = np.empty((len(trials), pool))
        for names, rows in _blocks(trials, pool):
            found = self.form.on_target(names, rows, weights)
            for own, chosen, values in zip(ends, rows, found, strict=True):
                own[names[chosen]] = _checked(values, (len(chosen),), self.who)
            self.ticker.add(rows)
        for trial, own in zip(trials, ends, strict=True):
            yield trial.against_others(own[trial.due], float(own[trial.candidates].sum()))

    def _on_own(self, trials: Sequence[Replace], questions: _Questions) -> Iterator[Float[np.ndarray, " due"]]:
        begin = questions.begin
        totals = np.zeros((len(trials), questions.end - begin))
        for names, rows in _blocks(trials, questions.pool):
            totals += _checked(self.form.totals(names, rows), totals.shape, self.who)
            self.ticker.add(rows)
        names = np.arange(begin, questions.end)
        rows = [np.sort(trial.due) - begin for trial in trials]
        own = np.empty(totals.shape)
        for one, chosen, values in zip(own, rows, self.form.on_own(names, rows, names - begin), strict=True):
            one[chosen] = _checked(values, (len(chosen),), self.who)
        for trial, one, total in zip(trials, own, totals, strict=True):
            yield trial.against_others(one[trial.due - begin], total[trial.due - begin])


def _blocks(
    trials: Sequence[Replace], pool: int
) -> Iterator[tuple[Int[np.ndarray, " candidate"], list[Int[np.ndarray, " row"]]]]:
    """The pool, some examples at a time, and which of them each trial tries."""
    tried = np.zeros((len(trials), pool), dtype=bool)
    for one, trial in zip(tried, trials, strict=True):
        one[trial.candidates] = True
    for start in range(0, pool, BLOCK):
        names = np.arange(start, min(start + BLOCK, pool))
        yield names, [np.flatnonzero(one[names]) for one in tried]


def _checked(values: object, shape: tuple[int, ...], who: str) -> Float[np.ndarray, "..."]:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise PluginError(
            f"{who} told where runs end by values of shape {found.shape}, not finite ones of {shape}", "mend it"
        )
    return found
