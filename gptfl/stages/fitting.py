"""Fits an estimator, or takes back the fit that is there already, and asks it about runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.errors import DataError, PluginError, ResourceError
from gptfl.interfaces import NEEDS, Estimator, conditions, metrics_of, takes
from gptfl.records import (
    Features,
    FitData,
    MetricInfo,
    Progress,
    Run,
    classes_of,
    fingerprint,
    lack_of_classes,
    run_fingerprint,
)
from gptfl.registry import MENDING, OWN, Part
from gptfl.stages.answering import checked
from gptfl.stages.scope import Scope
from gptfl.stages.sources import Recording
from gptfl.stages.splits import Split, query_for, same_steps
from gptfl.store.simulators import SimulatorFile, read_simulator, write_simulator

KEPT = "compared"
"""The workspace's folder for fits that only ``compare`` made: ``simulate`` doesn't pick from it."""
WORTH_KEEPING = 0.5
"""Fits that took fewer seconds are made again rather than kept."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An estimator that is ready to be fitted, and who provides it."""

    part: Part
    estimator: Estimator


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted estimator, and the key of all that determines it; ``seconds`` is what the fit took."""

    contender: Contender
    key: str
    seconds: float
    reused: bool = False
    notes: tuple[str, ...] = ()


def unmet_need(
    estimator: Estimator, recording: Recording, features: Features | None, metric: MetricInfo
) -> DataError | None:
    """Why an estimator can't be fitted to this metric of what there is, if so."""
    name, dynamics = estimator.name, recording.dynamics
    predicted = metrics_of(estimator)
    if predicted is not None and metric.name not in predicted:
        only = ", ".join(sorted(predicted))
        shared = sorted(predicted & dynamics.metrics.keys())
        remedy = f"give --metric {shared[0]}, or use another estimator" if shared else "use another estimator"
        return DataError(f"{name} predicts {only} only, not {metric.name}", remedy)
    for need in sorted(estimator.requires):
        if need == "features" and features is None:
            return DataError(
                f"{name} needs features, and {recording.workspace.shown} holds none of {recording.stem}",
                "run gptfl featurize first",
            )
        if need == "classes" and classes_of(dynamics.pool) is None:
            return DataError(
                f"{name} needs classes, and the recording's task has none{lack_of_classes(dynamics.pool)}",
                "use another estimator",
            )
        if need == "gradients" and dynamics.gradients is None:
            return _not_recorded(recording, name, need, "reference")
        if need == "derivatives" and not all(run.derivatives for run in dynamics.runs):
            return _not_recorded(recording, name, need, "own")
        if need not in NEEDS:
            return DataError(f"{name} needs {need}, which the recording doesn't hold", "use another estimator")
    return None


def _not_recorded(recording: Recording, name: str, need: str, option: str) -> DataError:
    return DataError(
        f"{name} needs {need}, which {recording.path.name} doesn't hold",
        f"record them with gptfl collect --gradients {option}",
    )


def fit_data(
    recording: Recording,
    split: Split,
    metric: MetricInfo,
    features: Features | None,
    seed: int,
    progress: Progress,
    estimator: Estimator,
) -> FitData:
    """What an estimator gets to see; one that requires gradients gets exact products, one that takes them also estimates."""
    dynamics = recording.dynamics
    gradients = dynamics.gradients if "gradients" in estimator.requires else None
    if gradients is None and "gradients" in takes(estimator):
        gradients = dynamics.known_products
    return FitData(
        dynamics.pool, dynamics.test, metric, split.fit, split.validation, features, seed, progress, gradients
    )


def simulator_key(contender: Contender, recording: Recording, data: FitData) -> str:
    """Fingerprint of everything that determines a fit, the provider's version included."""
    owner = contender.part.owner
    with contender.part.blamed("settings"):
        settings = dict(contender.estimator.settings())
    return fingerprint(
        contender.part.name,
        f"{OWN} {metadata.version(OWN)}" if owner == OWN else owner,
        settings,
        data.metric.name,
        data.seed,
        recording.dynamics.examples,
        [run_fingerprint(run) for run in data.fit_runs],
        [run_fingerprint(run) for run in data.validation_runs],
        None if data.features is None else data.features.fingerprint,
        # Nothing is added where there are none, so that fits from before gradients keep their keys.
        *(() if data.gradients is None else (data.gradients.fingerprint,)),
        *(() if recording.aside is None else (recording.aside.to_json(recording.dynamics),)),
    )


def fit_fresh(contender: Contender, recording: Recording, data: FitData) -> Fitted:
    """Fit. Raises ``PluginError`` where a plugin breaks its promise."""
    key = simulator_key(contender, recording, data)
    start = time.perf_counter()
    with contender.part.blamed("fit"):
        estimator = contender.estimator.fit(data)
    seconds = time.perf_counter() - start
    if not isinstance(estimator, Estimator):
        raise PluginError(
            f"{contender.part.who}: fit returned {type(estimator).__name__}, not the fitted estimator", MENDING
        )
    notes = tuple(str(note) for note in getattr(estimator, "notes_", ()))
    return Fitted(Contender(contender.part, estimator), key, seconds, notes=notes)


def keep(path: Path, fitted: Fitted, recording: Recording, data: FitData) -> None:
    """Write a simulator file."""
    with fitted.contender.part.blamed("state"):
        settings = dict(fitted.contender.estimator.settings())
        state = dict(fitted.contender.estimator.state())
    simulator = SimulatorFile(
        estimator=fitted.contender.part.name,
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
            "provider": fitted.contender.part.owner,
            "fit_runs": list(dict.fromkeys(run.index for run in data.fit_runs)),
            "validation_runs": list(dict.fromkeys(run.index for run in data.validation_runs)),
            "encoder": None if data.features is None else data.features.encoder,
            "notes": list(fitted.notes),
            "unseen": None if recording.aside is None else recording.aside.to_json(recording.dynamics),
        },
    )
    write_simulator(path, simulator)


def fit_or_load(contender: Contender, recording: Recording, data: FitData) -> Fitted:
    """Take back the fit of the same key if the workspace has it, else fit, and keep what took long."""
    key = simulator_key(contender, recording, data)
    space = recording.workspace
    path = space.simulator_path(recording.stem, contender.part.name, data.metric.name, key)
    aside = path.parent / KEPT / path.name
    notes = []
    for candidate in (path, aside):
        if candidate.exists():
            try:
                found = read_simulator(candidate)
                if found.key == key:
                    return _restored(contender, found)
            except (DataError, ResourceError) as error:
                notes.append(f"{contender.part.name} was fitted again, because {error.problem}")
    fitted = fit_fresh(contender, recording, data)
    if fitted.seconds >= WORTH_KEEPING:
        try:
            keep(aside, fitted, recording, data)
        except ResourceError as error:
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.problem
            notes.append(f"fits couldn't be kept in {aside.parent} ({why}): they are made anew the next time")
    return Fitted(fitted.contender, key, fitted.seconds, notes=(*notes, *fitted.notes))


def _restored(contender: Contender, found: SimulatorFile) -> Fitted:
    with contender.part.blamed("restore"):
        estimator = contender.estimator.restore(found.state)
    notes = tuple(str(note) for note in found.info.get("notes", ()))
    return Fitted(Contender(contender.part, estimator), found.key, float(found.info.get("seconds", 0.0)), True, notes)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an estimator predicts for one run: its trajectories, and their lower and upper bounds by level."""

    values: Float[np.ndarray, "recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "recorded test"], Float[np.ndarray, "recorded test"]]]


def ask_runs(
    contender: Contender, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None, observed: int = 0
) -> list[Answer]:
    """What a fitted estimator predicts for these runs' curricula.

    ``scope`` says which examples the runs are about, where these aren't just those fitted. An estimator that
    goes on from them is told the first ``observed`` recorded scores after the start of each run. Raises ``PluginError`` where the answer has the
    wrong shape or isn't finite.
    """
    told = observed if conditions(contender.estimator) else 0
    answers: list[Answer] = [Answer(np.empty((0, 0)), {})] * len(runs)
    for places in same_steps(runs):
        query = query_for([runs[place] for place in places], metric, told)
        query = query if scope is None else scope.about(query)
        with contender.part.blamed("predict"):
            prediction = contender.estimator.predict(query)
        prediction = checked(prediction, query, contender.part.who)
        values = prediction.values.astype(np.float64)
        for row, place in enumerate(places):
            bounds = {level: (low[row], high[row]) for level, (low, high) in prediction.intervals.items()}
            answers[place] = Answer(values[row], bounds)
    return answers


def predict_runs(
    contender: Contender, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None
) -> list[Float[np.ndarray, "recorded test"]]:
    """The trajectories of ``ask_runs`` alone."""
    return [answer.values for answer in ask_runs(contender, runs, metric, scope)]
