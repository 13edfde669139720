"""Baseline selectors of a selection study: estimators fitted to the recording without the test examples that score."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.core import Example, Features, Progress, class_numbers
from gptfl.core.curriculum import Stream, generator
from gptfl.core.queries import features_at
from gptfl.core.runs import with_tests
from gptfl.core.splits import check_fit_runs, stored_split
from gptfl.designs.dealing import draw_evenly
from gptfl.errors import GptflError, UsageError
from gptfl.evaluation.specs import EstimatorSpec, label_for, parse_spec
from gptfl.features.lookup import find_features, fitted_features
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.selection import chosen_of
from gptfl.influence.targets import InfluenceTarget
from gptfl.plugins.interfaces import Estimator
from gptfl.plugins.registry import Registry
from gptfl.recording.recording import OpenedRecording
from gptfl.simulation.fitting import fit_data, fit_fresh
from gptfl.simulation.requirements import NamedEstimator, unmet_need
from gptfl.simulation.simulator import FittedSimulator
from gptfl.simulation.unseen import scope_of


@dataclass(frozen=True, slots=True)
class TargetSplit:
    """The places of the test examples to choose for, of those to score on, and of all but the latter."""

    targets: Int[np.ndarray, " asked"]
    scored: Int[np.ndarray, " scored"]
    kept: Int[np.ndarray, " kept"]


def split_tests(source: FittedSimulator, subject: InfluenceTarget, score_on: int | None, seed: int) -> TargetSplit:
    """The test examples of a subject in two parts: those that subsets are chosen for, and those that they are scored on.

    Args:
        source: the simulator, whose test examples they are.
        subject: which of them are meant.
        score_on: how many to score on, None for half of them.
        seed: draws the parts.

    Raises ``UsageError`` where that leaves none to choose for, or none to score on.
    """
    tests = np.arange(len(source.scope.test)) if subject.tests is None else subject.tests
    count = len(tests) // 2 if score_on is None else score_on
    if not 1 <= count < len(tests):
        given = (
            f"--score-on is {score_on}" if score_on is not None else f"--on {subject.name} leaves nothing to score on"
        )
        raise UsageError(
            f"{given}, and {len(tests)} test examples are chosen for and scored on together",
            f"give 1 to {len(tests) - 1}" if len(tests) > 1 else "name 2 test examples or more",
        )
    order = generator(seed, Stream.TARGET_SPLIT).permutation(len(tests))
    scored, targets = np.sort(tests[order[:count]]), np.sort(tests[order[count:]])
    return TargetSplit(targets, scored, np.setdiff1d(np.arange(len(source.scope.test)), scored))


def baseline_choices(
    source: FittedSimulator,
    halves: TargetSplit,
    spec_of_selection: SelectionSpec,
    rivals: Sequence[str] | None,
    how: str | None,
    orders: int,
    seed: int,
    features: str | Path | None,
    progress: Progress,
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """The places that the studied estimator and its rivals choose, by what to call them, and notes on it.

    All are fitted as if the test examples to score on had never been recorded.

    Args:
        source: the simulator of the studied estimator.
        halves: which test examples are chosen for, and which are scored on.
        spec_of_selection: how many examples to choose, and within which bounds.
        rivals: the estimators whose choice is trained on, too; None for those that offer themselves.
        how: in which way the studied estimator computes influence; None for its own.
        orders: in how many random orders each curriculum is simulated.
        seed: of the orders.
        features: those that the simulator was fitted on, by default looked for in the workspace.
        progress: called along the way.

    Raises ``DataError`` where one can't be fitted or has no such influence, and ``UsageError`` for a rival that can't be
    read.
    """
    known = known_features(source, features)
    name = source.found.estimator
    selectors = [
        _Selector(
            f"selected by {name}", EstimatorSpec(name, dict(source.found.settings)), spec_of_selection, how, known
        )
    ]
    specs, notes = baseline_selectors(source, known, rivals)
    for spec in specs:
        own = known if spec.encoder is None else find_features(source.recording, None, spec.encoder)[0]
        named = spec.name if spec.encoder is None else f"{spec.name}@{spec.encoder}"
        label = f"top of {label_for(named, spec.settings, {})}"
        selectors.append(
            _Selector(
                label, spec, SelectionSpec.greatest(spec_of_selection.size, spec_of_selection.max_share), None, own
            )
        )
    target = InfluenceTarget("group", np.searchsorted(halves.kept, halves.targets))
    choices: dict[str, tuple[int, ...]] = {}
    for one in selectors:
        fresh = refitted(source, one.spec, halves.kept, one.features, progress)
        influence, chosen = chosen_of(
            fresh,
            target,
            spec=one.selection_spec,
            how=one.how,
            features=fresh.scope.features,
            orders=orders,
            seed=seed,
            progress=progress,
        )
        choices[one.label] = tuple(sorted(chosen))
        notes += (*fresh.notes, *influence.notes)
    return choices, tuple(dict.fromkeys(notes))


@dataclass(frozen=True, slots=True)
class _Selector:
    """Who chooses, by which spec, and from which features of the whole recording."""

    label: str
    spec: EstimatorSpec
    selection_spec: SelectionSpec
    how: str | None
    features: Features | None


def baseline_selectors(
    source: FittedSimulator, features: Features | None, named: Sequence[str] | None
) -> tuple[list[EstimatorSpec], tuple[str, ...]]:
    """The baselines that were named, else those that offer themselves by their tags; and why not, where there are none.

    Args:
        source: the simulator of the studied estimator, whose recording they are fitted to.
        features: of the whole recording, None where there are none.
        named: specs as ``parse_spec`` reads them, None for those that offer themselves.

    Raises ``UsageError`` for a spec that can't be read.
    """
    if named is not None:
        return [parse_spec(spec, "--rival") for spec in dict.fromkeys(named)], ()
    offered = _offered(source.recording.registry)
    specs, notes = [], []
    for name, estimator in offered.items():
        if name == source.found.estimator:
            continue
        problem = unmet_need(estimator, source.recording, features, source.metric)
        if problem is None:
            specs.append(EstimatorSpec(name, {}))
        else:
            notes.append(f"left out: {problem.problem}")
    if not offered:
        notes.append("no estimator that is installed offers itself as a baseline to train on beside it (see --rival)")
    return specs, tuple(notes)


def _offered(registry: Registry) -> dict[str, Estimator]:
    """The estimators that are baselines unless others are named, by name; none that can't be made."""
    found: dict[str, Estimator] = {}
    for name in registry.names("estimator"):
        with contextlib.suppress(GptflError):
            made: Estimator = registry.make("estimator", name)
            if made.tags.baseline_selector:
                found[name] = made
    return found


def drawn_of(pool: Sequence[Example], size: int, count: int, seed: int) -> list[tuple[int, ...]]:
    """Random subsets, as many examples of each class as of another where there are classes.

    Args:
        pool: the training examples.
        size: of each subset.
        count: how many subsets.
        seed: draws them.
    """
    classes = class_numbers(pool)
    draws = [draw_evenly(size, classes, len(pool), (seed, Stream.RANDOM_SUBSETS, number)) for number in range(count)]
    return [tuple(int(place) for place in draw) for draw in draws]


def known_features(source: FittedSimulator, given: str | Path | None) -> Features | None:
    """The features of the whole recording that a simulator was fitted on; None where it was fitted without."""
    if source.found.features is None:
        return None
    return fitted_features(source.recording, source.found, source.named.estimator.tags.blind, given)


def refitted(
    source: FittedSimulator,
    spec: EstimatorSpec,
    tests: Int[np.ndarray, " kept"],
    features: Features | None,
    progress: Progress,
) -> FittedSimulator:
    """An estimator fitted to the recording of a simulator, as if only these of its test examples had been recorded.

    Args:
        source: the simulator, whose recording, metric and split are taken.
        spec: its name and settings.
        tests: places of the test examples.
        features: of the whole recording, None where there are none.
        progress: called along the way.

    Raises ``DataError`` where the recording lacks what the estimator needs.
    """
    registry = source.recording.registry
    part = registry.find("estimator", spec.name)
    named = NamedEstimator(part, registry.make("estimator", spec.name, **spec.settings))
    recording = _only(source.recording, tests)
    problem = unmet_need(named.estimator, recording, features, source.metric)
    if problem is not None:
        raise problem
    known: Features | None = None
    if features is not None and ("features" in named.estimator.tags.requires or spec.name == source.found.estimator):
        dynamics = recording.dynamics
        known = features_at(features, dynamics.pool, dynamics.test, np.arange(len(dynamics.pool)), tests)
    split = stored_split(recording.dynamics.runs)
    check_fit_runs(split)
    seed = source.found.info.get("seed", 0)
    data = fit_data(
        recording,
        split,
        source.metric,
        known,
        seed if type(seed) is int else 0,
        progress,
        named.estimator,
    )
    fitted = fit_fresh(named, recording, data)
    found = replace(
        source.found,
        estimator=spec.name,
        dynamics=recording.dynamics.fingerprint,
        examples=recording.dynamics.examples,
        features=None if known is None else known.fingerprint,
        key=fitted.key,
    )
    scope = scope_of(recording.dynamics, None, fitted.named.estimator, None)
    return FittedSimulator(
        recording, source.path, found, fitted.named, source.pool, fitted.notes, replace(scope, features=known)
    )


def _only(recording: OpenedRecording, tests: Int[np.ndarray, " kept"]) -> OpenedRecording:
    return replace(recording, dynamics=with_tests(recording.dynamics, tests), held_out=None)
