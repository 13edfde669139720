"""The influence of each training example as a fitted simulator tells it: directly, or by simulating."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.errors import DataError, PluginError, UsageError
from gptfl.interfaces import (
    InfluencesItself,
    InfluencesTests,
    TellsInfluence,
    generalises,
    is_blind,
    is_oracle,
    tells_itself,
)
from gptfl.records import Dynamics, Features, FeatureSet, Progress
from gptfl.records.texts import id_on, written_id
from gptfl.registry import suggest
from gptfl.stages.asking import Source
from gptfl.stages.closed_form import closed_form
from gptfl.stages.ownscores import OwnScores
from gptfl.stages.placing import fitted_features
from gptfl.stages.recipe import Recipe, recorded_recipe
from gptfl.stages.scope import Scope
from gptfl.stages.selection import Pool
from gptfl.stages.typical import Drop, Final, Reading, Replace, drops, replacements
from gptfl.stages.unseen import TEST

SELF, MEAN = "self", "mean"
REPLACE, DROP, DERIVATIVE, CLOSED_FORM = "replace", "drop", "derivative", "closed-form"
HOWS = (REPLACE, DROP, CLOSED_FORM, DERIVATIVE)
MAX_NUMBERS = 2**22
"""So many batch entries and predicted values are held at once (32 MB)."""
ALMOST = 1e-9
"""A spread of influences below this share of the metric's own size is rounding."""


@dataclass(frozen=True, slots=True)
class Subject:
    """On what influence is told: the mean of the test examples at ``tests``, or, if None, each example itself."""

    name: str
    tests: Int[np.ndarray, " chosen"] | None

    @property
    def itself(self) -> bool:
        """Whether each training example's influence on itself is asked for."""
        return self.tests is None

    @property
    def text(self) -> str:
        """How messages and tables call it."""
        if self.tests is None:
            return "itself"
        if self.name == MEAN:
            return f"the mean of all {len(self.tests)} test examples"
        if self.name.startswith("test:"):
            return f"test example {written_id(self.name.removeprefix('test:'))}"
        return f"the mean of {len(self.tests)} test examples"


def subject_of(on: str | Sequence[str], dynamics: Dynamics) -> Subject:
    """Read ``--on``: ``self``, ``mean``, ``test:ID`` or ``group:FILE`` (test ids, one a line), or a sequence of ids.

    Raises ``UsageError`` for another word and ``DataError`` for an id that no test example has.
    """
    if on == SELF:
        return Subject(SELF, None)
    if on == MEAN:
        return Subject(MEAN, np.arange(len(dynamics.test)))
    tests = Pool(dynamics.test, "test set")
    if not isinstance(on, str):
        return Subject("group", tests.select(tuple(on), "--on"))
    kind, _, rest = on.partition(":")
    if kind == "test" and rest:
        found = id_on(rest, tests.places)
        named = rest if found is None else found
        return Subject(f"{kind}:{named}", np.array([tests.place(named, f"--on {on}")]))
    if kind == "group" and rest:
        return Subject(on, tests.select(Path(rest), "--on"))
    hint = f"did you mean test:{on}?" if on in tests.places else ""
    raise UsageError(f"--on {on!r} is unknown", hint or "use mean, self, test:ID or group:FILE (test ids, one a line)")


def check_how(how: str | None) -> None:
    """Raise ``UsageError`` for an unknown way to tell influence."""
    if how is not None and how not in HOWS:
        close = suggest(how, HOWS)
        raise UsageError(f"--how {how!r} is unknown", close if close.startswith("did") else f"use {', '.join(HOWS)}")


@dataclass(frozen=True, slots=True)
class Told:
    """The influence of each pool example, positive where it makes the metric better, and how it was found.

    ``spread`` is its standard deviation, where the estimator tells one.
    """

    influence: Float[np.ndarray, " pool"]
    how: str
    step: int | None
    notes: tuple[str, ...] = ()
    spread: Float[np.ndarray, " pool"] | None = None


def tell(
    source: Source,
    subject: Subject,
    how: str | None,
    own: OwnScores | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Told:
    """The influence of each pool example, in the way asked for; by default directly where the estimator offers it.

    ``own`` are the pool examples' first scores, where known; ``features`` those that the simulator was fitted on, by
    default looked for in the workspace. Raises ``DataError`` where the estimator can't answer.
    """
    estimator = source.contender.estimator
    sure = isinstance(estimator, TellsInfluence)
    if subject.tests is None or not sure:
        if how == CLOSED_FORM:
            lacks = "itself is not among the test examples that it is told on" if sure else "it has no influence_of"
            raise DataError(
                f"{source.found.estimator} can't tell --how {how} on {subject.name} ({lacks})",
                "use --on mean or test:ID" if sure else "use --how replace, or an estimator such as exposure-gp",
            )
    elif how in (None, CLOSED_FORM):
        influence, spread = closed_form(source, subject.tests, features, progress)
        last = int(recorded_recipe(source.recording.dynamics, source.metric).grid[-1])
        return Told(influence, CLOSED_FORM, last, spread=spread)
    offered = tells_itself(estimator) if subject.itself else isinstance(estimator, InfluencesTests)
    if how == DERIVATIVE and not offered:
        kind = "self_influence" if subject.itself else "influence"
        raise DataError(
            f"{source.found.estimator} can't tell --how derivative on {subject.name} (it has no {kind})",
            "use --how replace or drop, or another estimator",
        )
    if how == DERIVATIVE or (how is None and offered):
        return Told(direct(source, subject), DERIVATIVE, None)
    if is_oracle(estimator):
        raise DataError(
            f"{source.found.estimator} looks along the runs that it explains and can't answer for others",
            "use another estimator",
        )
    return _simulated(source, subject, how or REPLACE, own, features, orders, seed, progress)


def direct(source: Source, subject: Subject) -> Float[np.ndarray, " pool"]:
    """What the estimator's own method says to first order.

    Raises ``DataError`` where examples were set aside from the fit, ``PluginError`` where the answer is ill-shaped or
    not finite.
    """
    part, estimator = source.contender.part, source.contender.estimator
    dynamics = source.recording.dynamics
    if source.recording.aside is not None:
        raise DataError(
            f"{source.path} was fitted with examples set aside, and tells no influence of or on those",
            "use --how replace, or fit without --unseen",
        )
    shape: tuple[int, ...] = (len(dynamics.pool),)
    if isinstance(estimator, InfluencesItself) and subject.tests is None:
        with part.blamed("self_influence"):
            told = np.asarray(estimator.self_influence(), dtype=np.float64)
    elif isinstance(estimator, InfluencesTests):
        shape = (*shape, len(dynamics.test))
        with part.blamed("influence"):
            told = np.asarray(estimator.influence(), dtype=np.float64)
    if told.shape != shape or not np.isfinite(told).all():
        raise PluginError(f"{part.who} told influences of shape {told.shape}, not finite ones of {shape}", "mend it")
    return told if subject.tests is None else np.asarray(told[:, subject.tests].mean(axis=1))


def _simulated(
    source: Source,
    subject: Subject,
    how: str,
    own: OwnScores | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Told:
    pool = len(source.recording.dynamics.pool)
    recipe = typical_recipe(source)
    first = source.first(int(recipe.grid[0]))
    notes: tuple[str, ...] = ()
    if subject.itself:
        source = replace(source, scope=_pool_as_test(source, features))
        first, notes = _own_first(source, recipe, own, first)
    trials: list[Drop] | list[Replace]
    if how == DROP:
        trials = list(drops(recipe, pool, orders, seed))
        notes += (
            "--how drop leaves an example's places empty: the others in its batches count for them, as in training; "
            "where nothing is left of a batch there is a step less: an extrapolation from runs all of one length",
        )
    else:
        trials = list(replacements(recipe, pool, orders, seed))
    total, done = sum(trial.size for trial in trials), 0
    chunk = max(1, MAX_NUMBERS // (recipe.steps * recipe.batch_size + len(recipe.grid) * len(first)))

    def final(batches: Int[np.ndarray, "run step batch"]) -> Float[np.ndarray, "run test"]:
        nonlocal done
        values = source.ask(recipe.query(batches, first)).values[:, -1]
        done += len(batches)
        progress("rank", done, total, f"{source.found.estimator}, --how {how}")
        return values

    influence = mean_effects(trials, final, Reading(subject.tests), pool, chunk)
    sign = 1.0 if source.metric.higher_is_better else -1.0
    if np.ptp(influence) <= ALMOST * max(float(np.abs(first).mean()), 1e-30):
        notes += (f"{source.found.estimator} tells no example from another: all have the same influence",)
        influence = np.full(pool, influence.mean())
    return Told(sign * influence, how, int(recipe.grid[-1]), notes)


def mean_effects(
    trials: Sequence[Drop] | Sequence[Replace], final: Final, reading: Reading, pool: int, chunk: int
) -> Float[np.ndarray, " pool"]:
    """The mean effect of each example over the trials that tell of it."""
    total, count = np.zeros(pool), np.zeros(pool)
    for trial in trials:
        total[trial.due] += trial.effects(final, reading, chunk)
        count[trial.due] += 1
    return total / count


def typical_recipe(source: Source) -> Recipe:
    """What most runs followed; where they saw different numbers of examples, the number in the middle."""
    dynamics = source.recording.dynamics
    recipe = recorded_recipe(dynamics, source.metric)
    if recipe.subset is not None:
        return recipe
    sizes = [len(np.setdiff1d(run.curriculum.batches, [-1])) for run in dynamics.runs]
    return replace(recipe, subset=int(np.median(sizes)))


def _pool_as_test(source: Source, features: str | Path | Features | None) -> Scope:
    """The pool's examples on both sides. Raises ``DataError`` where the estimator can't predict them."""
    recording, estimator = source.recording, source.contender.estimator
    if TEST not in generalises(estimator):
        raise DataError(
            f"{source.found.estimator} can't tell influence on self: it predicts only the test examples that it was "
            "fitted to",
            "use --on mean or test:ID, or an estimator that takes other test examples, such as gptfluence",
        )
    found: Features | None = None
    if source.found.features is not None:
        if isinstance(features, Features):
            found = features
        else:
            found = fitted_features(recording, source.found, is_blind(estimator), features)
        sets = {key: FeatureSet(one.train, one.train, one.kind) for key, one in found.sets.items()}
        found = replace(found, sets=sets)
    pool = recording.dynamics.pool
    return Scope(pool, pool, source.scope.pool_seen, np.full(len(pool), -1), found)


def _own_first(
    source: Source, recipe: Recipe, own: OwnScores | None, first: Float[np.ndarray, " test"]
) -> tuple[Float[np.ndarray, " pool"], tuple[str, ...]]:
    """Where each pool example starts: as measured, else as the test examples do on average."""
    if own is not None and int(recipe.grid[0]) == 0:
        return own.values, ()
    pool = len(source.recording.dynamics.pool)
    if own is not None:
        why = f"the recorded runs begin at step {int(recipe.grid[0])}, not at the untrained model"
    else:
        why = f"their own first {source.metric.name} isn't known; --model measures it"
    note = f"each pool example is taken to start from the mean of the test examples, {first.mean():.4g}: {why}"
    return np.full(pool, first.mean()), (note,)
