"""Fits an estimator anew to a recording without some of its test examples, so that these can be scored on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.interfaces import is_blind
from gptfl.records import Features, Progress
from gptfl.registry import Registry
from gptfl.stages.asking import Source
from gptfl.stages.entries import Spec
from gptfl.stages.fitting import Contender, fit_data, fit_fresh, unmet_need
from gptfl.stages.placing import fitted_features
from gptfl.stages.scope import scope_of
from gptfl.stages.sources import Recording
from gptfl.stages.splits import check_fit_runs, stored_split
from gptfl.stages.withholding import features_of, with_tests


def known_features(source: Source, given: str | Path | None) -> Features | None:
    """The features of the whole recording that a simulator was fitted on; None where it was fitted without."""
    if source.found.features is None:
        return None
    return fitted_features(source.recording, source.found, is_blind(source.contender.estimator), given)


def refitted(
    source: Source,
    registry: Registry,
    spec: Spec,
    tests: Int[np.ndarray, " kept"],
    features: Features | None,
    progress: Progress,
) -> Source:
    """An estimator fitted to the recording of a simulator, as if only these of its test examples had been recorded.

    ``features`` are of the whole recording. Raises ``DataError`` where the recording lacks what the estimator needs.
    """
    part = registry.find("estimator", spec.name)
    contender = Contender(part, registry.make("estimator", spec.name, **spec.settings))
    recording = _only(source.recording, tests)
    problem = unmet_need(contender.estimator, recording, features, source.metric)
    if problem is not None:
        raise problem
    known: Features | None = None
    if features is not None and ("features" in contender.estimator.requires or spec.name == source.found.estimator):
        dynamics = recording.dynamics
        known = features_of(features, dynamics.pool, dynamics.test, np.arange(len(dynamics.pool)), tests)
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
        contender.estimator,
    )
    fitted = fit_fresh(contender, recording, data)
    found = replace(
        source.found,
        estimator=spec.name,
        dynamics=recording.dynamics.fingerprint,
        examples=recording.dynamics.examples,
        features=None if known is None else known.fingerprint,
        key=fitted.key,
    )
    scope = scope_of(recording.dynamics, None, fitted.contender.estimator, None)
    return Source(
        recording, source.path, found, fitted.contender, source.pool, fitted.notes, replace(scope, features=known)
    )


def _only(recording: Recording, tests: Int[np.ndarray, " kept"]) -> Recording:
    return replace(recording, dynamics=with_tests(recording.dynamics, tests), aside=None)
