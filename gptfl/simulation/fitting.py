"""Fits an estimator, or takes back the fit that is there already."""

import time
from dataclasses import dataclass
from typing import Any

from gptfl.core import Features, FitData, MetricInfo, Progress, fingerprint, run_fingerprint
from gptfl.core.blocked_rows import whole_digest
from gptfl.core.splits import Split
from gptfl.core.versions import installed_version
from gptfl.errors import DataError, ResourceError
from gptfl.features.whole import products_in_memory
from gptfl.plugins.interfaces import Estimator
from gptfl.plugins.optional import HasFitNotes, RefersToProducts, RefersToVectors
from gptfl.plugins.parts import OWN
from gptfl.recording.recording import OpenedRecording
from gptfl.simulation.requirements import NamedEstimator
from gptfl.store.simulators import SimulatorFile, read_simulator, write_simulator

KEPT = "compared"
"""The workspace's folder for fits that only ``compare`` made: ``simulate`` does not take it."""
VECTORS = "vectors"
"""Under which a simulator's file keeps by what the vectors are known that it refers to."""
WORTH_KEEPING = 0.5
"""Fits that took fewer seconds are made again rather than kept."""


@dataclass(frozen=True, slots=True)
class FittedEstimator:
    """A fitted estimator, and the key of all that determines it; ``seconds`` is what the fit took."""

    named: NamedEstimator
    key: str
    seconds: float
    reused: bool = False
    notes: tuple[str, ...] = ()


def fit_data(
    recording: OpenedRecording,
    split: Split,
    metric: MetricInfo,
    features: Features | None,
    seed: int,
    progress: Progress,
    estimator: Estimator,
) -> FitData:
    """What an estimator gets to see; one that requires gradients gets exact products, one that takes them also estimates.

    Args:
        recording: cut to the metric and the steps that count.
        split: which of its runs are for fitting and which for validation.
        metric: to be predicted.
        features: of the same examples, None where the estimator works without.
        seed: for what the estimator draws.
        progress: called along the way.
        estimator: its tags say which gradients it is given, and whether it reads them some at a time.

    Raises ``ResourceError`` where it needs more products in memory than there is room for.
    """
    dynamics = recording.dynamics
    gradients = dynamics.gradients if "gradients" in estimator.tags.requires else None
    if gradients is None and "gradients" in estimator.tags.uses:
        gradients = dynamics.known_products
    if gradients is not None and not estimator.tags.blocks:
        gradients = products_in_memory(gradients, estimator.name)
    return FitData(
        dynamics.pool,
        dynamics.test,
        metric=metric,
        fit_runs=split.fit,
        validation_runs=split.validation,
        features=features,
        seed=seed,
        progress=progress,
        gradients=gradients,
    )


def simulator_key(named: NamedEstimator, recording: OpenedRecording, data: FitData) -> str:
    """Fingerprint of everything that determines a fit, the provider's version included."""
    owner = named.part.owner
    settings = dict(named.estimator.settings())
    return fingerprint(
        named.part.name,
        f"{OWN} {installed_version(OWN)}" if owner == OWN else owner,
        settings,
        data.metric.name,
        data.seed,
        recording.dynamics.examples,
        [run_fingerprint(run) for run in data.fit_runs],
        [run_fingerprint(run) for run in data.validation_runs],
        None if data.features is None else data.features.fingerprint,
        # Nothing is added where there are none, so that fits from before gradients keep their keys.
        *(() if data.gradients is None else (data.gradients.fingerprint,)),
        *(() if recording.held_out is None else (recording.held_out.to_json(recording.dynamics),)),
    )


def fit_fresh(named: NamedEstimator, recording: OpenedRecording, data: FitData) -> FittedEstimator:
    """Fit. Raises ``PluginError`` where a plugin breaks its promise."""
    key = simulator_key(named, recording, data)
    start = time.perf_counter()
    estimator = named.estimator.fit(data)
    seconds = time.perf_counter() - start
    notes = tuple(str(note) for note in (estimator.notes_ if isinstance(estimator, HasFitNotes) else ()))
    return FittedEstimator(NamedEstimator(named.part, estimator), key, seconds, notes=notes)


def simulator_file(fitted: FittedEstimator, recording: OpenedRecording, data: FitData) -> SimulatorFile:
    """What is kept of a fit. Raises ``PluginError`` where the estimator can't give its state."""
    settings = dict(fitted.named.estimator.settings())
    state = dict(fitted.named.estimator.state())
    return SimulatorFile(
        estimator=fitted.named.part.name,
        settings=settings,
        state=state,
        metric=data.metric,
        dynamics=recording.dynamics.fingerprint,
        examples=recording.dynamics.examples,
        features=None if data.features is None else data.features.fingerprint,
        key=fitted.key,
        info={
            "seconds": round(fitted.seconds, 3),
            "seed": data.seed,
            "every": recording.every,
            "kept_diverged": recording.keep_diverged,
            "provider": fitted.named.part.owner,
            "fit_runs": list(dict.fromkeys(run.index for run in data.fit_runs)),
            "validation_runs": list(dict.fromkeys(run.index for run in data.validation_runs)),
            "encoder": None if data.features is None else data.features.encoder,
            "notes": list(fitted.notes),
            **_vectors_of(data.features),
            "unseen": None if recording.held_out is None else recording.held_out.to_json(recording.dynamics),
        },
    )


def _vectors_of(features: Features | None) -> dict[str, Any]:
    """By what the pool's vectors are known that are too many to be kept; nothing where they aren't."""
    if features is None or not features.in_blocks:
        return {}
    known = {name: whole_digest(one.train) for name, one in features.sets.items()}
    return {VECTORS: known} if all(known.values()) else {}


def fit_or_load(named: NamedEstimator, recording: OpenedRecording, data: FitData) -> FittedEstimator:
    """Take back the fit of the same key if the workspace has it, else fit, and keep what took long."""
    key = simulator_key(named, recording, data)
    space = recording.workspace
    path = space.simulator_path(recording.stem, named.part.name, data.metric.name, key)
    cached = path.parent / KEPT / path.name
    notes = []
    for candidate in (path, cached):
        if candidate.exists():
            try:
                found = read_simulator(candidate)
                if found.key == key:
                    return _restored(named, found, data)
            except (DataError, ResourceError) as error:
                notes.append(f"{named.part.name} was fitted again, because {error.problem}")
    fitted = fit_fresh(named, recording, data)
    if fitted.seconds >= WORTH_KEEPING:
        try:
            write_simulator(cached, simulator_file(fitted, recording, data))
        except ResourceError as error:
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.problem
            notes.append(f"fits couldn't be kept in {cached.parent} ({why}): they are made anew the next time")
    return FittedEstimator(fitted.named, key, fitted.seconds, notes=(*notes, *fitted.notes))


def _restored(named: NamedEstimator, found: SimulatorFile, data: FitData) -> FittedEstimator:
    estimator = named.estimator.restore(found.state)
    if data.features is not None and isinstance(estimator, RefersToVectors) and estimator.lacks_vectors:
        estimator.use_vectors(data.features)
    if data.gradients is not None and isinstance(estimator, RefersToProducts) and estimator.lacks_products:
        estimator.use_products(data.gradients)
    notes = tuple(str(note) for note in found.info.get("notes", ()))
    return FittedEstimator(
        NamedEstimator(named.part, estimator), found.key, float(found.info.get("seconds", 0.0)), True, notes
    )
