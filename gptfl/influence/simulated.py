"""Influence by simulation: of curricula that differ in one example alone, each in full or all of them together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, Progress
from gptfl.influence.replacement_effects import replacement_effects
from gptfl.influence.self_influence import InitialMetrics, initial_metrics, of_tests, pool_as_test
from gptfl.influence.targets import DROP, Influence, InfluenceTarget
from gptfl.influence.trials import Drop, Reading, Replace, drops, mean_effects, replacements
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

MAX_NUMBERS = 2**22
"""So many batch entries and predicted values are held at once (32 MB)."""
TESTS = 1024
"""So many training examples stand among the test examples at once, for influence on themselves."""
ALMOST = 1e-9
"""A spread of influences below this share of the metric's own size is rounding."""


def simulated(
    source: FittedSimulator,
    subject: InfluenceTarget,
    how: str,
    own: InitialMetrics | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Influence:
    """Influence as the difference that dropping an example, or putting it in another's place, makes to simulated runs.

    Args:
        source: the simulator.
        subject: the test examples, or each training example itself.
        how: ``drop`` or ``replace``.
        own: the training examples' own metric before training, for influence on themselves.
        features: the vectors, or their file; None for those in the workspace.
        orders: how often each example is dropped or put in another's place.
        seed: draws the runs.
        progress: called along the way.

    Raises ``DataError`` where runs have the whole pool and none is left to replace another.
    """
    pool = len(source.recording.dynamics.pool)
    recipe = typical_recipe(source)
    first = source.first(int(recipe.grid[0]))
    notes: tuple[str, ...] = ()
    if subject.itself:
        source = replace(source, scope=pool_as_test(source, features))
        first, notes = initial_metrics(source, recipe, own, first)
    influence: Float[np.ndarray, " pool"] | None = None
    trials: Sequence[Drop | Replace]
    if how == DROP:
        trials = list(drops(recipe, pool, orders, seed))
        notes += (
            "--how drop leaves an example's places empty: the others in its batches count for them, as in training; "
            "where nothing is left of a batch there is a step less: an extrapolation from runs all of one length",
        )
    else:
        trials = exchanged = list(replacements(recipe, pool, orders, seed))
        influence = replacement_effects(source, subject.tests, recipe, exchanged, first, progress)
    if influence is None:
        influence = _influence(source, subject, recipe, trials, first, progress, how)
    sign = 1.0 if source.metric.higher_is_better else -1.0
    if np.ptp(influence) <= ALMOST * max(float(np.abs(first).mean()), 1e-30):
        notes += (f"{source.found.estimator} tells no example from another: all have the same influence",)
        influence = np.full(pool, influence.mean())
    return Influence(sign * influence, how, int(recipe.grid[-1]), notes)


def _influence(
    source: FittedSimulator,
    subject: InfluenceTarget,
    recipe: RunSchedule,
    trials: Sequence[Drop | Replace],
    first: Float[np.ndarray, " test"],
    progress: Progress,
    how: str,
) -> Float[np.ndarray, " pool"]:
    """The mean effect of each training example over trials; on themselves, of some of them at a time."""
    pool, influence = len(source.recording.dynamics.pool), np.empty(len(source.recording.dynamics.pool))
    size, done = TESTS if subject.itself else pool, 0
    starts = range(0, pool, size)
    total = sum(trial.about(begin, begin + size).size for begin in starts for trial in trials)
    for begin in starts:
        some = replace(source, scope=of_tests(source.scope, begin, begin + size)) if subject.itself else source
        values = first[begin : begin + size] if subject.itself else first
        chunk = max(1, MAX_NUMBERS // (int(recipe.seen) + len(recipe.grid) * len(values)))

        def final(
            batches: Int[np.ndarray, "run step batch"],
            some: FittedSimulator = some,
            values: Float[np.ndarray, " test"] = values,
        ) -> Float[np.ndarray, "run test"]:
            nonlocal done
            found = some.predict(recipe.query(batches, values)).values[:, -1]
            done += len(batches)
            progress("rank", done, total, f"{some.found.estimator}, --how {how}")
            return found

        ours = [trial.about(begin, begin + size) for trial in trials]
        effects = mean_effects(ours, final, Reading(subject.tests, begin), pool, chunk)
        influence[begin : begin + size] = effects[begin : begin + size]
    return influence


def typical_recipe(source: FittedSimulator) -> RunSchedule:
    """What most runs followed; where they saw different numbers of examples, the number in the middle."""
    dynamics = source.recording.dynamics
    recipe = recorded_schedule(dynamics, source.metric)
    if recipe.subset is not None:
        return recipe
    sizes = [len(np.setdiff1d(run.curriculum.batches, [-1])) for run in dynamics.runs]
    return replace(recipe, subset=int(np.median(sizes)))
